import { expect, test } from "vitest";
import { Connections } from "../../../src/engine/connections.ts";

/** Tasks that run until they are told to end; `begun` names those that have begun, in order. */
class Tasks {
  readonly begun: string[] = [];
  private readonly ends = new Map<string, (error?: Error) => void>();

  readonly task = (name: string) => async (): Promise<string> => {
    this.begun.push(name);
    await new Promise<void>((resolve, reject) => {
      this.ends.set(name, (error) => (error ? reject(error) : resolve()));
    });
    return name;
  };

  /** Ends a task, and waits until whatever follows from that has begun. */
  async end(name: string, error?: Error): Promise<void> {
    this.ends.get(name)!(error);
    await settled();
  }
}

const [FILL, WANTED] = [{ inDemand: false }, { inDemand: true }];
const settled = () => new Promise((later) => setTimeout(later));

test("while an expert is waited for, the background starts nothing, though connections are free", async () => {
  const connections = new Connections();
  const { begun, task, end } = bound(new Tasks());
  const demand = connections.demand(task("demand"));
  const fill = connections.run(FILL, task("fill"));
  const wanted = connections.run(WANTED, task("wanted"));
  await settled();
  expect(begun).toEqual(["demand", "wanted"]);
  await end("wanted");
  expect(begun, "the wait is not over with one of its requests").toEqual(["demand", "wanted"]);
  await end("demand");
  expect(begun).toEqual(["demand", "wanted", "fill"]);
  await end("fill");
  expect(await Promise.all([demand, fill, wanted])).toEqual(["demand", "fill", "wanted"]);
});

test("two waits: the background goes on when both are over, be it by a failure", async () => {
  const connections = new Connections();
  const { begun, task, end } = bound(new Tasks());
  const [first, second] = [connections.demand(task("a")), connections.demand(task("b"))];
  const fill = connections.run(FILL, task("fill"));
  await end("a");
  expect(begun).toEqual(["a", "b"]);
  const failed = expect(second).rejects.toThrow("lost");
  await end("b", new Error("lost"));
  expect(begun).toEqual(["a", "b", "fill"]);
  await end("fill");
  await failed;
  await Promise.all([first, fill]);
});

test("four requests run at a time, three of them in the background; those that wait begin in order", async () => {
  const connections = new Connections();
  const { begun, task, end } = bound(new Tasks());
  const fills = ["f1", "f2", "f3", "f4", "f5"].map((name) => connections.run(FILL, task(name)));
  const wanted = ["w1", "w2"].map((name) => connections.run(WANTED, task(name)));
  await settled();
  expect(begun).toEqual(["f1", "f2", "f3", "w1"]);
  await end("f1");
  expect(begun.slice(4), "the one in demand goes first").toEqual(["w2"]);
  await end("w1");
  expect(begun.slice(5), "one connection stays free for demand").toEqual([]);
  const failed = expect(fills[1]).rejects.toThrow("broken");
  await end("f2", new Error("broken"));
  await end("w2");
  expect(begun.slice(5)).toEqual(["f4", "f5"]);
  for (const name of ["f3", "f4", "f5"]) await end(name);
  await failed;
  await Promise.all([fills[0], ...fills.slice(2), ...wanted]);
});

const bound = (tasks: Tasks) => ({ begun: tasks.begun, task: tasks.task, end: tasks.end.bind(tasks) });
