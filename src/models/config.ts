import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";

/** Limits above any published model; a larger number means a damaged or hostile file. */
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

  /** Whether there is a field of that name, be it null. */
  has(field: string): boolean {
    return Object.hasOwn(this.json, field);
  }

  /**
   * A whole number from 1 to the limit; `fallback` where the field is absent or null. `field` may
   * list several names, since versions of transformers differ in them; the first that is there is
   * read.
   */
  count(field: string | readonly string[], limit: keyof typeof LARGEST, fallback?: number): number {
    const names = [field].flat();
    const name = names.find((each) => this.json[each] != null) ?? names[0]!;
    const value = this.json[name] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > LARGEST[limit])
      throw bad(`"${name}" should be a whole number from 1 to ${LARGEST[limit]}, and is ${quote(value)}`);
    return value as number;
  }

  /** A whole number from 0 to the limit; `fallback` where the field is absent or null. */
  whole(field: string, limit: keyof typeof LARGEST, fallback: number): number {
    return (this.json[field] ?? fallback) === 0 ? 0 : this.count(field, limit, fallback);
  }

  /** How many of `experts` serve a token. */
  top(field: string | readonly string[], experts: number, fallback: number): number {
    const top = this.count(field, "experts", fallback);
    if (top > experts) throw bad(`${top} experts per token are more than the ${experts} there are`);
    return top;
  }

  /** A set of layer numbers; empty where the field is absent or null. */
  layers(field: string): ReadonlySet<number> {
    const value = this.json[field] ?? [];
    if (Array.isArray(value) && value.every((layer) => Number.isInteger(layer) && layer >= 0)) return new Set(value);
    throw bad(`"${field}" should be a list of layers, and is ${quote(value)}`);
  }

  /** A number above 0. Without a fallback it has to be there. */
  positive(field: string, fallback?: number): number {
    const value = this.json[field] ?? fallback;
    if (!isPositive(value)) throw bad(`"${field}" should be a number above 0, and is ${quote(value)}`);
    return value;
  }

  /** So many numbers above 0. */
  positives(field: string, length: number): readonly number[] {
    const value = this.json[field];
    if (Array.isArray(value) && value.length === length && value.every(isPositive)) return value;
    throw bad(`"${field}" should be a list of ${length} numbers above 0, and is ${quote(value)}`);
  }

  /** true or false; `fallback` where the field is absent or null. */
  flag<F extends boolean | null>(field: string, fallback: F): boolean | F {
    const value = this.json[field] ?? fallback;
    if (typeof value === "boolean" || value === fallback) return value as boolean | F;
    throw bad(`"${field}" should be true or false, and is ${quote(value)}`);
  }

  /** Refuses every value but `only`, which is also meant where the field is absent or null. */
  expect(field: string, only: string | boolean | null): void {
    const value = this.json[field] ?? only;
    if (value !== only) throw bad(`"${field}" is ${quote(value)}; mixtab knows only ${JSON.stringify(only)}`);
  }

  /**
   * How many keys a query sees, from `sliding_window`; null: all. The file may say that with null
   * or 0. `fallback` holds where `sliding_window` is absent, `used` where `use_sliding_window` is.
   */
  window(fallback: number | null, used = true): number | null {
    const { sliding_window: window = fallback } = this.json;
    if (!this.flag("use_sliding_window", used) || window === null || window === 0) return null;
    return this.count("sliding_window", "positions", window as number);
  }

  /**
   * What each of the layers is, from `layer_types`; `fallback(l)` where the field is absent or null.
   * Without a fallback it has to be there.
   */
  layerTypes<K extends string>(layers: number, kinds: readonly K[], fallback?: (l: number) => K): readonly K[] {
    const value = this.json.layer_types ?? (fallback && Array.from({ length: layers }, (_, l) => fallback(l)));
    if (!Array.isArray(value) || value.length < layers)
      throw bad(`"layer_types" should be a list of ${layers} kinds, and is ${quote(value)}`);
    const strange = value.find((kind) => !kinds.includes(kind));
    if (strange !== undefined) throw bad(`"layer_types" has ${quote(strange)}; mixtab knows ${kinds.join(" and ")}`);
    return value.slice(0, layers);
  }

  /** Which layers have a window, by `layer_types`; `fallback(l)` where the field is absent or null. */
  slidingLayers(layers: number, fallback: (l: number) => boolean): readonly boolean[] {
    const [sliding, full] = ["sliding_attention", "full_attention"] as const;
    const types = this.layerTypes(layers, [sliding, full], (l) => (fallback(l) ? sliding : full));
    return types.map((type) => type === sliding);
  }

  /** An object, read as a config of its own; an empty one where the field is absent or null. */
  section(field: string): Config {
    const value = this.json[field] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw bad(`"${field}" should be an object`);
    return new Config(value);
  }
}

const isPositive = (value: unknown): value is number =>
  typeof value === "number" && value > 0 && Number.isFinite(value);

/** The error for a config.json that cannot be run; `what` says what is wrong with it. */
export function bad(what: string): MixtabError {
  return new MixtabError("bad-config", `${what}. Check the model's config.json, or choose another model.`);
}
