import { deleteModel, listModels, type StoredModel } from "../index.ts";
import { button, h } from "./dom.ts";
import { failureOf } from "./failure.ts";
import { formatBytes } from "./numbers.ts";

/**
 * What this browser keeps of models, each with its bytes and a button that deletes it. It is folded,
 * and read anew whenever it is opened.
 */
export class StoredList {
  readonly root = h("details", { class: "stored", part: "stored" }, h("summary", {}, "What this browser keeps"));
  readonly #list = h("ul");
  readonly #said = h("p", { role: "status" });

  constructor() {
    this.root.append(this.#list, this.#said);
    this.hide();
    this.root.addEventListener("toggle", () => {
      if (this.root.open) void this.#read();
    });
  }

  show(): void {
    this.root.hidden = false;
  }

  hide(): void {
    this.root.hidden = true;
    this.root.open = false;
    this.#list.replaceChildren();
    this.#said.textContent = "";
  }

  async #read(): Promise<void> {
    await this.#try(async () => {
      const models = await listModels();
      this.#list.replaceChildren(...models.map((model) => this.#item(model)));
      this.#said.textContent = models.length === 0 ? "Nothing is kept." : "";
    });
  }

  #item({ name, bytes, store }: StoredModel): HTMLElement {
    const words = `${name} · ${formatBytes(bytes)} `;
    const remove = button("Delete", "delete", () => {
      remove.disabled = true;
      void this.#try(async () => {
        const deleted = await deleteModel(name, { store });
        await this.#read();
        this.#said.textContent = `${formatBytes(deleted)} deleted; what is needed again is fetched again.`;
        this.root.querySelector("summary")?.focus();
      });
    });
    remove.setAttribute("aria-label", `Delete what is kept of ${name}`);
    return h("li", {}, words, remove);
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#said.textContent = failureOf(error).message;
    }
  }
}
