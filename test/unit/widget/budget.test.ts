import { expect, test } from "vitest";
import type { Engine } from "../../../src/index.ts";
import { MixtabError } from "../../../src/index.ts";
import { Budget } from "../../../src/widget/budget.ts";

/** An engine whose budget changes when told to, and the element around it. */
function stage() {
  const asked: (number | "auto")[] = [];
  const answers: { allow(): void; refuse(error: unknown): void }[] = [];
  const events: { name: string; slots?: number; message?: string }[] = [];
  const cleared: unknown[] = [];
  let slots = 4;
  const engine = {
    get info() {
      return { slots, recordBytes: 100 };
    },
    stats: async () => ({ slots }),
    setBudget: (bytes: number | "auto") => {
      asked.push(bytes);
      return new Promise<void>((resolve, reject) => {
        const allow = () => {
          slots = Math.min(8, Number(bytes) / 100);
          resolve();
        };
        answers.push({ allow, refuse: reject });
      });
    },
  } as unknown as Engine;

  const element = {
    wish: "400" as string | null,
    opened: Promise.resolve(engine) as Promise<Engine> | undefined,
    reopened: 0,
  };
  const budget = new Budget({
    wish: () => element.wish,
    write(wish) {
      element.wish = wish;
      void budget.follow();
    },
    bytes: (wish) => (wish === "auto" ? wish : Number(wish)),
    engine: () => element.opened,
    reopen: () => element.reopened++,
    show: () => {},
    notice: { fail: () => {}, clearFailure: (failure) => void cleared.push(failure) },
    emit: (name, detail) => void events.push({ ...(detail as object), name }),
  });
  budget.begin();
  const wish = (value: string) => {
    element.wish = value;
    void budget.follow();
  };
  return { element, engine, budget, wish, asked, answers, events, cleared };
}

const rest = () => new Promise((later) => setTimeout(later));

test("while a budget changes, only the newest of the wishes that follow is kept, and one change is under way", async () => {
  const { wish, asked, answers, events } = stage();
  for (const value of ["300", "200", "500"]) wish(value);
  await rest();
  expect(asked).toEqual([500]);
  for (const value of ["600", "700", "800"]) wish(value);
  await rest();
  expect(asked).toEqual([500]);
  answers[0]?.allow();
  await rest();
  expect(asked).toEqual([500, 800]);
  expect(events).toEqual([]);
  answers[1]?.allow();
  await rest();
  expect(asked).toEqual([500, 800]);
  expect(events).toMatchObject([{ name: "mixtab-budget", slots: 8 }]);
});

test("a wish that is taken back in time asks for nothing; one that is not is undone", async () => {
  const { wish, asked, answers } = stage();
  wish("800");
  wish("400");
  await rest();
  expect(asked).toEqual([]);
  wish("800");
  await rest();
  wish("400");
  answers[0]?.allow();
  await rest();
  expect(asked).toEqual([800, 400]);
});

test("what could not be is said with what holds, and the attribute goes back; the next success takes the words away", async () => {
  const { element, wish, asked, answers, events, cleared } = stage();
  wish("900");
  await rest();
  answers[0]?.refuse(new MixtabError("out-of-memory", "Too much."));
  await rest();
  expect(element.wish).toBe("400");
  expect(events).toMatchObject([
    { name: "mixtab-error", code: "out-of-memory", message: "Too much. The budget stays at 400 bytes." },
    { name: "mixtab-budget", slots: 4 },
  ]);
  expect(asked).toEqual([900]);
  wish("200");
  await rest();
  answers[1]?.allow();
  await rest();
  expect(cleared).toMatchObject([{ code: "out-of-memory" }]);
  expect(events.at(-1)).toMatchObject({ name: "mixtab-budget", slots: 2 });
});

test("a refusal that a newer wish has overtaken is not shown", async () => {
  const { element, wish, answers, events } = stage();
  wish("900");
  await rest();
  wish("300");
  answers[0]?.refuse(new MixtabError("out-of-memory", "Too much."));
  await rest();
  answers[1]?.allow();
  await rest();
  expect(element.wish).toBe("300");
  expect(events).toMatchObject([{ name: "mixtab-budget", slots: 3 }]);
});

test("where the device gives fewer slots than asked for, that is said", async () => {
  const { wish, answers, events } = stage();
  wish("5000");
  await rest();
  answers[0]?.allow();
  await rest();
  expect(events).toMatchObject([{ name: "mixtab-budget", slots: 8 }]);
});

test("an engine that could not be opened is opened anew; one that is being opened is waited for", async () => {
  const { element, engine, wish, asked } = stage();
  element.opened = Promise.reject(new Error("no"));
  wish("300");
  await rest();
  expect(element.reopened).toBe(1);
  let ready = (_: Engine) => {};
  element.opened = new Promise((resolve) => {
    ready = resolve;
  });
  wish("200");
  await rest();
  expect(asked).toEqual([]);
  ready(engine);
  await rest();
  expect(asked).toEqual([200]);
});

test("an engine that is replaced while its budget changes has no say any more", async () => {
  const { element, budget, wish, asked, answers, events } = stage();
  wish("300");
  await rest();
  element.opened = new Promise(() => {});
  budget.begin();
  answers[0]?.refuse(new MixtabError("closed", "Closed."));
  await rest();
  expect(element.wish).toBe("300");
  expect(asked).toEqual([300]);
  expect(events).toEqual([]);
});
