import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decodeFloats } from "../../../src/format/floats.ts";
import { parseSafetensorsHeader, type TensorEntry } from "../../../src/format/safetensors.ts";

/** A file under test/fixtures. */
export const fixture = (path: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url))));

export const fixtureJson = (path: string): unknown => JSON.parse(new TextDecoder().decode(fixture(path)));

/** A safetensors file read as a whole. */
export function fixtureTensors(path: string) {
  const bytes = fixture(path);
  const { tensors } = parseSafetensorsHeader(bytes, bytes.length);
  const entry = (name: string): TensorEntry => {
    const found = tensors.get(name);
    if (!found) throw new Error(`${path} has no tensor ${name}`);
    return found;
  };
  const data = (name: string) => bytes.subarray(entry(name).begin, entry(name).end);
  const floats = (name: string) =>
    decodeFloats(({ F32: "f32", F16: "f16", BF16: "bf16" } as const)[entry(name).dtype as "F32"], data(name));
  return { bytes, tensors, entry, data, floats };
}
