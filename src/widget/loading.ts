import type { ModelInfo, Progress } from "../index.ts";
import { h } from "./dom.ts";
import type { Notice } from "./notice.ts";
import { formatBytes } from "./numbers.ts";
import { ProgressBar, sourceName } from "./progress_bar.ts";

/**
 * What the user sees while a model is opened: a line of status, the progress bar, and notes about
 * what went otherwise than wished, such as a model on the CPU.
 */
export class Loading {
  readonly bar: ProgressBar;
  readonly status = h("p", { class: "status", part: "status", role: "status" });
  readonly #notice: Notice;
  #info: ModelInfo | undefined;
  #last: Progress | undefined;

  /** `tryNow`: what to do when the user does not want to wait for the next try. */
  constructor(notice: Notice, tryNow: () => void) {
    this.#notice = notice;
    this.bar = new ProgressBar(tryNow);
  }

  /** To be called when a model begins to open. */
  begin(): void {
    this.#info = undefined;
    this.#last = undefined;
    this.status.textContent = "Opening the model…";
    this.bar.waiting("Opening the model…");
  }

  /** Shows the progress of loading, before and after the model is ready. */
  progress(progress: Progress): void {
    this.#last = progress;
    if (progress.warning) this.#notice.warn(progress.warning);
    if (progress.waiting) this.bar.interrupted(progress.waiting, this.#info !== undefined);
    else if (progress.phase === "opening") this.bar.waiting("Reading the model’s description…");
    else if (progress.phase !== "done")
      this.bar.show(progress, progress.phase === "experts" ? "It can talk already. Fetching the rest:" : "Loading");
    else if (this.#info) this.bar.hide();
    else this.bar.waiting("Preparing the device…");
    if (this.#info) this.#describe(this.#info);
  }

  /** To be called when the model can answer. `asked` is the device that was asked for. */
  ready(info: ModelInfo, asked: string): void {
    this.#info = info;
    if (!this.#last || this.#last.phase === "done") this.bar.hide();
    else this.progress(this.#last);
    if (info.device === "cpu" && asked !== "cpu")
      this.#notice.note(
        `This browser offers no WebGPU here, so the model runs on the processor: slower, and only small models. (${info.deviceDescription})`,
      );
    this.#describe(info);
  }

  /** To be called when the model could not be opened. */
  failed(): void {
    this.status.textContent = "No model";
    this.bar.hide();
  }

  #describe(info: ModelInfo): void {
    const device = info.device === "gpu" ? "on the GPU" : "on the processor";
    const parts = [`${modelName(info.id)} ${device}`];
    if (this.#last?.phase === "done")
      parts.push(`${formatBytes(this.#last.totalBytes)} ${sourceName(this.#last.from)}`);
    this.status.textContent = parts.join(" · ");
  }
}

/** The last part of a model's address, without a revision. */
const modelName = (id: string): string => id.replace(/\/+$/, "").split("/").at(-1)?.split("@")[0] || id;
