import type { Stats } from "../index.ts";

/** The modes in which tokens are run, in plain words: a short label, and a sentence. */
export const MODE_LABELS: Readonly<Record<Stats["mode"], { readonly name: string; readonly meaning: string }>> = {
  queued: {
    name: "queued ahead",
    meaning: "Every expert is in memory, so tokens are queued ahead and the device never waits.",
  },
  optimistic: {
    name: "token by token",
    meaning: "A token runs in one go, and stops only where an expert is missing and must be brought in.",
  },
  grouped: {
    name: "layers in groups",
    meaning: "Many experts are missing: a token runs a few layers at a time, so that little is run in vain.",
  },
};
