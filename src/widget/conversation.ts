import type { ChatMessage } from "../index.ts";

/** A question and its answer, as far as the answer has come. */
export interface Exchange {
  readonly question: string;
  answer: string;
}

/**
 * The messages of a conversation. A question without an answer is left out, since chat templates
 * require user and assistant to alternate.
 */
export function messagesOf(exchanges: readonly Exchange[]): ChatMessage[] {
  return exchanges
    .filter(({ answer }) => answer !== "")
    .flatMap(({ question, answer }) => [
      { role: "user", content: question } as const,
      { role: "assistant", content: answer } as const,
    ]);
}
