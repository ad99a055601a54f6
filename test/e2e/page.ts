import { readFileSync } from "node:fs";
import { test as base, type Locator, type Page } from "@playwright/test";
import type { ChatEvents } from "../../src/widget/events.ts";
import { type Server, serve } from "../support/serve.mjs";

export { expect } from "@playwright/test";

/** The weights' path, as the server's log has it. */
export const WEIGHTS = "/model.safetensors";

/** Bytes in the story model's weights file. */
export const WEIGHTS_BYTES = 3_009_763;

/** The demo's query for greedy answers, and on the CPU speaker where the GPU is not what is tested: its shaders take seconds to compile here. */
export const CPU = "?temperature=0&device=cpu";

/** The same for what holds on either device: `npm run test:all` tries it on the GPU. */
export const EITHER = process.env.MIXTAB_ALL ? "?temperature=0" : CPU;

type Recorded = {
  readonly [Name in keyof ChatEvents]: { readonly name: Name; readonly detail: ChatEvents[Name] };
}[keyof ChatEvents];

/** The greedy text that the reference implementation gives to a conversation of these user messages' last one. */
export function golden(question: string): string {
  const { chats } = JSON.parse(readFileSync("test/fixtures/storyteller-moe/mlx-4bit/golden.json", "utf8")) as {
    chats: { messages: { content: string }[]; text: string }[];
  };
  const chat = chats.find(({ messages }) => messages.length === 1 && messages[0]?.content === question);
  if (!chat) throw new Error(`golden.json has no chat "${question}"`);
  return chat.text;
}

/** A page with a `<mixtab-chat>` on it: what a person sees, and the events that the element has sent. */
export class ChatPage {
  readonly page: Page;
  readonly input: Locator;
  readonly send: Locator;
  readonly stop: Locator;
  readonly status: Locator;
  readonly alert: Locator;
  readonly progress: Locator;
  readonly answers: Locator;
  readonly questions: Locator;
  /** What the pool does for the answer, in the widget. */
  readonly gauges: Locator;
  /** Of the demo. */
  readonly slider: Locator;

  constructor(page: Page) {
    this.page = page;
    const chat = page.locator("mixtab-chat");
    this.input = chat.getByLabel("Your message");
    this.send = chat.getByRole("button", { name: "Send" });
    this.stop = chat.getByRole("button", { name: "Stop" });
    this.status = chat.locator(".status");
    this.alert = chat.getByRole("alert");
    this.progress = chat.getByRole("progressbar");
    this.answers = chat.locator(".answer");
    this.questions = chat.locator(".question");
    this.gauges = chat.locator(".gauges");
    this.slider = page.getByLabel("Experts kept in memory");
  }

  /**
   * From the next page on, records the element's events as `recorded`, and defines `reached(length)`: the element, as soon as its
   * first answer has so many characters. What must happen while an answer is made is done in the page: a fast device is faster than we are.
   */
  async record(): Promise<void> {
    await this.page.addInitScript(() => {
      const reached = async (length: number): Promise<Element> => {
        for (;;) {
          const element = document.querySelector("mixtab-chat");
          if ((element?.shadowRoot?.querySelector(".answer .text")?.textContent ?? "").length >= length)
            return element!;
          await new Promise((later) => setTimeout(later));
        }
      };
      Object.assign(globalThis, { reached });
      const events: unknown[] = [];
      Object.assign(globalThis, { recorded: events });
      for (const name of ["progress", "ready", "budget", "stats", "answer", "error"])
        addEventListener(`mixtab-${name}`, (event) => {
          const { cause, ...detail } = (event as CustomEvent).detail;
          events.push({ name: event.type, detail });
        });
    });
  }

  /** Events of one name so far, oldest first. */
  async events<Name extends keyof ChatEvents>(name: Name): Promise<ChatEvents[Name][]> {
    const all = (await this.page.evaluate("recorded")) as Recorded[];
    return all.filter((event) => event.name === name).map((event) => event.detail as ChatEvents[Name]);
  }

  /** Resolves when an event of this name has come, and says with what. */
  async event<Name extends keyof ChatEvents>(name: Name, count = 1): Promise<ChatEvents[Name]> {
    await this.page.waitForFunction(
      ([wanted, n]) =>
        (globalThis as unknown as { recorded: Recorded[] }).recorded.filter((e) => e.name === wanted).length >= n,
      [name, count] as const,
    );
    return (await this.events(name)).at(-1) as ChatEvents[Name];
  }

  /** The value of a gauge: a number, or undefined where there is none yet. */
  async gauge(name: string): Promise<number | undefined> {
    const text = await this.gauges.locator("div", { hasText: name }).locator("dd").textContent();
    const value = Number.parseFloat(text ?? "");
    return Number.isNaN(value) ? undefined : value;
  }

  /** Resolves when every byte of the model is in the store. */
  async filled(): Promise<void> {
    await this.page.waitForFunction(() =>
      (globalThis as unknown as { recorded: Recorded[] }).recorded.some(
        (event) => event.name === "mixtab-progress" && event.detail.phase === "done",
      ),
    );
  }

  /** Types a message, sends it by Enter, and waits for the whole answer, unless told not to. */
  async ask(question: string, wait = true): Promise<string> {
    const before = await this.answers.count();
    await this.input.fill(question);
    await this.input.press("Enter");
    await this.answers.nth(before).waitFor();
    return wait ? await this.ended(before) : "";
  }

  /** The text of an answer, once it has ended well. */
  async ended(index: number): Promise<string> {
    const answer = this.answers.nth(index);
    await answer.and(this.page.locator("[data-finish]")).waitFor({ timeout: 60_000 });
    if ((await answer.getAttribute("data-finish")) === "failed")
      throw new Error(`no answer: ${await this.alert.textContent()}`);
    return await this.text(index);
  }

  /** The text of an answer so far. */
  async text(index: number): Promise<string> {
    return ((await this.answers.nth(index).locator(".text").textContent()) ?? "").trim();
  }
}

declare global {
  function reached(length: number): Promise<Element>;
}

/** Tests with a server of everything that is built (`site`), and a page on its demo (`chat`). Any uncaught error of a page fails its test. */
export const test = base.extend<{ chat: ChatPage; open: (query?: string) => Promise<void> }, { site: Server }>({
  site: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures from this pattern
    async ({}, use) => {
      const site = await serve({ root: "dist" });
      await use(site);
      await site.close();
    },
    { scope: "worker" },
  ],
  chat: async ({ page, site }, use) => {
    const crashes: Error[] = [];
    page.on("pageerror", (error) => crashes.push(error));
    site.clear();
    const chat = new ChatPage(page);
    await chat.record();
    await use(chat);
    if (crashes.length > 0) throw new AggregateError(crashes, `uncaught: ${crashes.join("; ")}`);
  },
  open: async ({ chat, site }, use) => {
    await use(async (query = "") => {
      await chat.page.goto(`${site.origin}/demo/${query}`);
    });
  },
});
