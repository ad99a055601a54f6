import type { Progress } from "./api.ts";

/**
 * From this size on it is worth asking the browser not to evict the site's data: Firefox asks the
 * person. What is smaller is soon fetched again.
 */
const WORTH_ASKING_BYTES = 100_000_000;

type OnProgress = (progress: Progress) => void;

/** The part of `navigator.storage` that is asked. */
type Asked = Partial<Pick<StorageManager, "persist" | "persisted">>;

/**
 * A listener in front of another, which asks the browser to keep the site's data as soon as a large
 * model begins to arrive from the network. Nobody waits for the answer: it is part of the events
 * from then on, and the last one is told again with it. Only pages can ask, so that in a worker
 * events pass through as they are.
 */
export function askingToPersist(
  listener: OnProgress | undefined,
  storage: Asked | undefined = globalThis.navigator?.storage,
): OnProgress | undefined {
  if (!storage?.persist) return listener;
  let asked = false;
  let persisted: boolean | undefined;
  let last: Progress | undefined;
  const tell = (progress: Progress): void =>
    listener?.(persisted === undefined ? progress : { ...progress, persisted });
  return (progress) => {
    last = progress;
    tell(progress);
    if (asked || progress.from !== "network" || progress.phase === "opening") return;
    if (progress.totalBytes < WORTH_ASKING_BYTES) return;
    asked = true;
    void ask(storage).then((answer) => {
      persisted = answer;
      const { warning: _, ...again } = last!;
      tell(again);
    });
  };
}

/** Whether the site's data will be kept. A browser that refuses to be asked keeps nothing. */
async function ask(storage: Asked): Promise<boolean> {
  try {
    return (await storage.persisted?.()) || ((await storage.persist?.()) ?? false);
  } catch {
    return false;
  }
}
