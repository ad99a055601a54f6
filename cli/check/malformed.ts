import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MixtabError } from "../../src/base/errors.ts";
import { parseSafetensorsHeader } from "../../src/format/safetensors.ts";
import type { Line } from "./comparison.ts";
import type { Kind } from "./kind.ts";

interface Expected {
  readonly files: Readonly<
    Record<
      string,
      {
        readonly expect: "ok" | "error";
        readonly why: string;
        readonly tensors?: Readonly<Record<string, { dtype: string; shape: readonly number[]; data_hex: string }>>;
      }
    >
  >;
}

/**
 * A folder of safetensors files. Some must be refused with a MixtabError; others must load, with
 * the tensors that expected.json gives for them.
 */
export const malformed: Kind = {
  looksLike: "a folder with expected.json",
  recognises: (path) => existsSync(join(path, "expected.json")),

  async *check(path) {
    const { files } = JSON.parse(readFileSync(join(path, "expected.json"), "utf8")) as Expected;
    for (const [file, { expect, why, tensors }] of Object.entries(files)) {
      const bytes = new Uint8Array(readFileSync(join(path, file)));
      yield tryLoading(file, expect, why, () => {
        const loaded = tensorsOf(bytes);
        return tensors === undefined || sameTensors(loaded, tensors);
      });
    }
  },
};

function tryLoading(file: string, expect: "ok" | "error", why: string, load: () => boolean): Line {
  try {
    const same = load();
    if (expect === "error") return { quantity: file, ok: false, text: `loads, but should not: ${why}` };
    return { quantity: file, ok: same, text: same ? "loads" : "loads with other tensors than it should" };
  } catch (error) {
    const named = error instanceof MixtabError;
    return {
      quantity: file,
      ok: named && expect === "error",
      text: named ? `${error.code}: ${error.message}` : String(error),
    };
  }
}

function tensorsOf(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const { tensors } = parseSafetensorsHeader(bytes, bytes.length);
  const hex = (begin: number, end: number) => Buffer.from(bytes.subarray(begin, end)).toString("hex");
  return Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, begin, end }]) => [name, { dtype, shape, data_hex: hex(begin, end) }]),
  );
}

function sameTensors(got: Readonly<Record<string, unknown>>, want: Readonly<Record<string, unknown>>): boolean {
  const sorted = (tensors: Readonly<Record<string, unknown>>) =>
    JSON.stringify(Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1)));
  return sorted(got) === sorted(want);
}
