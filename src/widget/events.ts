import type { ModelInfo, Progress, Stats } from "../index.ts";
import type { AnswerEnd } from "./answer.ts";
import type { Failure } from "./failure.ts";

/**
 * The events that `<mixtab-chat>` sends to its page: name, and type of `detail`. All of them
 * bubble.
 */
export interface ChatEvents {
  /**
   * Bytes of the model have arrived. These events go on after mixtab-ready, until the whole model
   * is in the store.
   */
  readonly "mixtab-progress": Progress;
  /** A model is open and can answer. */
  readonly "mixtab-ready": ModelInfo;
  /**
   * The budget was changed while the model was open, or the change failed; `detail` says what holds
   * now. A change that another one overtook has no event.
   */
  readonly "mixtab-budget": ModelInfo;
  /**
   * The pool's counters since the model was opened. They are sent when the model is ready, when its
   * budget has changed, and four times a second while it answers.
   */
  readonly "mixtab-stats": Stats;
  /** An answer has ended, by itself or by Stop. */
  readonly "mixtab-answer": AnswerEnd;
  /** Something failed. The element shows the failure itself. */
  readonly "mixtab-error": Failure;
}

/** Sends one of {@link ChatEvents} from `target`. */
export type Emit = <Name extends keyof ChatEvents>(name: Name, detail: ChatEvents[Name]) => void;

/** An {@link Emit} for `target`. */
export const emitter =
  (target: EventTarget): Emit =>
  (name, detail) => {
    target.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  };

type CustomEvents = { readonly [Name in keyof ChatEvents]: CustomEvent<ChatEvents[Name]> };

declare global {
  interface HTMLElementEventMap extends CustomEvents {}
}
