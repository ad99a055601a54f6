import type { ModelInfo, Progress, Stats } from "../index.ts";
import type { AnswerEnd } from "./answer.ts";
import type { Failure } from "./failure.ts";

/**
 * What `<mixtab-chat>` tells its page, by event name; each bubbles, and carries this as `detail`.
 */
export interface ChatEvents {
  /** Bytes of the model have arrived; goes on after mixtab-ready, until all are in the store. */
  readonly "mixtab-progress": Progress;
  /** A model is open and answers. */
  readonly "mixtab-ready": ModelInfo;
  /**
   * The budget has changed while the model was open, or could not: what holds now. A budget that
   * was overtaken by another has no event.
   */
  readonly "mixtab-budget": ModelInfo;
  /**
   * The pool's counters since the model was opened: when it is ready, when its budget has changed,
   * and four times a second while it answers.
   */
  readonly "mixtab-stats": Stats;
  /** An answer has ended, by itself or by Stop. */
  readonly "mixtab-answer": AnswerEnd;
  /** Something failed; the element shows it already. */
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
