import type { ChatMessage } from "../index.ts";

/** A question and as much of its answer as there is. */
export interface Exchange {
  readonly question: string;
  answer: string;
}

/**
 * The messages of a conversation; a question that got no answer is left out, since templates want
 * strict turns.
 */
export function messagesOf(exchanges: readonly Exchange[]): ChatMessage[] {
  return exchanges
    .filter(({ answer }) => answer !== "")
    .flatMap(({ question, answer }) => [
      { role: "user", content: question } as const,
      { role: "assistant", content: answer } as const,
    ]);
}
