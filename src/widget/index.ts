import { MixtabChat } from "./element.ts";

export type { AnswerEnd } from "./answer.ts";
export { MixtabChat } from "./element.ts";
export type { ChatEvents } from "./events.ts";
export type { Failure } from "./failure.ts";
export type { AnswerCounts } from "./meter.ts";

declare global {
  interface HTMLElementTagNameMap {
    "mixtab-chat": MixtabChat;
  }
}

if (!customElements.get("mixtab-chat")) customElements.define("mixtab-chat", MixtabChat);
