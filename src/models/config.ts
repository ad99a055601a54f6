import { MixtabError } from "../base/errors.ts";

/** Larger than any published model; a number beyond is a damaged or hostile file. */
const LARGEST = {
  layers: 1024,
  experts: 256,
  heads: 1024,
  width: 1 << 20,
  vocabulary: 1 << 22,
  positions: 1 << 24,
} as const;

/** config.json, read field by field; every number is checked against a limit before it is used. */
export class Config {
  readonly json: Readonly<Record<string, unknown>>;

  constructor(json: unknown) {
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw bad("config.json is not an object");
    this.json = json as Record<string, unknown>;
  }

  /** A whole number from 1 to the limit; `fallback` where the field is absent or null. */
  count(field: string, limit: keyof typeof LARGEST, fallback?: number): number {
    const value = this.json[field] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > LARGEST[limit])
      throw bad(`"${field}" should be a whole number from 1 to ${LARGEST[limit]}, and is ${JSON.stringify(value)}`);
    return value as number;
  }

  /** A number above 0. */
  positive(field: string, fallback: number, from: Readonly<Record<string, unknown>> = this.json): number {
    const value = from[field] ?? fallback;
    if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value))
      throw bad(`"${field}" should be a number above 0, and is ${JSON.stringify(value)}`);
    return value;
  }

  flag(field: string, fallback: boolean): boolean {
    const value = this.json[field] ?? fallback;
    if (typeof value !== "boolean") throw bad(`"${field}" should be true or false, and is ${JSON.stringify(value)}`);
    return value;
  }

  /** Refuses every value but `only`, which is also meant where the field is absent or null. */
  expect(field: string, only: string | boolean): void {
    const value = this.json[field] ?? only;
    if (value !== only) throw bad(`"${field}" is ${JSON.stringify(value)}; mixtab knows only ${JSON.stringify(only)}`);
  }

  /** The ring's window; null where there is none. */
  window(): number | null {
    return this.json.sliding_window == null ? null : this.count("sliding_window", "positions");
  }

  /** rope's base: `rope_parameters.rope_theta` (transformers 5) or `rope_theta`. Scaled positions are refused. */
  ropeBase(fallback: number): number {
    const parameters = this.object("rope_parameters");
    const scaling = this.object("rope_scaling");
    const type = parameters.rope_type ?? parameters.type ?? scaling.rope_type ?? scaling.type ?? "default";
    if (type !== "default") throw bad(`rope_type is ${JSON.stringify(type)}; mixtab knows only "default"`);
    return this.positive("rope_theta", this.positive("rope_theta", fallback), parameters);
  }

  private object(field: string): Readonly<Record<string, unknown>> {
    const value = this.json[field] ?? {};
    if (typeof value !== "object") throw bad(`"${field}" should be an object`);
    return value as Record<string, unknown>;
  }
}

/** A config.json that cannot be run, with what is wrong with it. */
export function bad(what: string): MixtabError {
  return new MixtabError("bad-config", `${what}. Check the model's config.json, or choose another model.`);
}
