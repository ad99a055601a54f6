import { button, h } from "./dom.ts";

/** What the user can do with the form below the conversation. */
export interface ComposerActions {
  send(text: string): void;
  stop(): void;
}

/**
 * The form for a message: a labelled text area and the button Send, in whose place there is Stop
 * while an answer is made. Enter sends, Shift+Enter starts a new line.
 */
export class Composer {
  readonly root: HTMLFormElement;
  readonly #text = h("textarea", {
    id: "text",
    part: "input",
    rows: "1",
    enterkeyhint: "send",
    autocomplete: "off",
    placeholder: "Write a message",
  });
  readonly #send = h("button", { type: "submit", class: "send", part: "send" }, "Send");
  readonly #stop: HTMLButtonElement;
  readonly #actions: ComposerActions;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#stop = button("Stop", "stop", () => actions.stop());
    this.#stop.hidden = true;
    const label = h("label", { for: "text", class: "unseen" }, "Your message");
    const hint = h("p", { id: "hint", class: "unseen" }, "Enter sends, Shift and Enter starts a new line.");
    this.#text.setAttribute("aria-describedby", "hint");
    this.root = h("form", { class: "composer", part: "composer" }, label, this.#text, hint, this.#send, this.#stop);
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /**
   * Shows Stop while an answer is made, else Send. If the button that disappears had the keyboard
   * focus, the focus moves to Stop or to the text area.
   */
  busy(answering: boolean): void {
    const root = this.root.getRootNode() as ShadowRoot;
    const gone = answering ? this.#send : this.#stop;
    const held = root.activeElement === gone;
    this.#send.hidden = answering;
    this.#stop.hidden = !answering;
    if (held && answering) this.#stop.focus();
    else if (held) this.focus();
  }

  /** Puts the cursor into the text area. */
  focus(): void {
    this.#text.focus();
  }

  #submit(): void {
    const text = this.#text.value.trim();
    if (text === "" || this.#send.hidden) return;
    this.#text.value = "";
    this.#actions.send(text);
  }
}
