/** Seeded choices, and what they do to bytes, texts and JSON. */

/** Whatever breaks readers of numbers, names and lists. */
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e9,
  2 ** 31,
  2 ** 53,
  1e308,
  "",
  "x",
  "__proto__",
  "constructor",
  "../../x",
  "\u0000\ud800",
  "9".repeat(400),
  [],
  {},
  [[]],
  { "": {} },
  [null],
];

/** mulberry32, and what is drawn with it. */
export class Draw {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** Bytes with one to four changes: flipped, cut, left out, repeated, put in, overwritten. */
  bytes(from: Uint8Array): Uint8Array<ArrayBuffer> {
    let bytes = Uint8Array.from(from);
    for (let change = 1 + this.below(4); change > 0; change--) bytes = this.changed(bytes);
    return bytes;
  }

  private changed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const at = this.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + this.below(16));
    const joined = (...parts: readonly (Uint8Array | readonly number[])[]) =>
      Uint8Array.from(parts.flatMap((part) => [...part]));
    switch (this.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << this.below(8));
        return bytes;
      case 1:
        if (at < bytes.length) bytes[at] = this.below(256);
        return bytes;
      case 2:
        return bytes.slice(0, at);
      case 3:
        return joined(bytes.subarray(0, at), bytes.subarray(end));
      case 4:
        return joined(bytes.subarray(0, end), bytes.subarray(at));
      case 5:
        return joined(bytes.subarray(0, at), [this.below(256), this.below(256)], bytes.subarray(at));
      case 6:
        return bytes.fill(this.pick([0, 0x20, 0x39, 0xff]), at, end);
      default: {
        // The length that safetensors begin with.
        const length = this.pick([0n, 1n, 7n, 100_000_000n, 100_000_001n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]);
        if (bytes.length >= 8 && this.chance(0.3)) new DataView(bytes.buffer).setBigUint64(0, length, true);
        return bytes;
      }
    }
  }

  /** A text with changes of its UTF-8 bytes. */
  text(from: string): string {
    return new TextDecoder().decode(this.bytes(new TextEncoder().encode(from)));
  }

  /** The text of a JSON value in which one to three places are others, or which is no JSON any more. */
  jsonText(from: unknown): string {
    if (this.chance(0.2)) return this.text(JSON.stringify(from));
    const whole = { value: structuredClone(from) };
    for (let change = 1 + this.below(3); change > 0; change--) this.changeJson(whole);
    const text = JSON.stringify(whole.value) ?? "";
    // A key twice, and depths that no reader expects.
    if (this.chance(0.03)) return text.replace(/^\{("[^"]*":)/, (all, key: string) => `{${key}null,${all.slice(1)}`);
    if (this.chance(0.02)) return text.replace("null", "[".repeat(20_000) + "]".repeat(20_000));
    return text;
  }

  private changeJson(whole: { value: unknown }): void {
    const places: { holder: Record<string, unknown>; key: string }[] = [];
    const gather = (holder: Record<string, unknown>) => {
      for (const key of Object.keys(holder)) {
        places.push({ holder, key });
        const inner = holder[key];
        if (typeof inner === "object" && inner !== null && places.length < 5000) gather(inner as typeof holder);
      }
    };
    gather(whole);
    if (places.length === 0) return;
    const { holder, key } = this.pick(places);
    const value = holder[key];
    switch (this.below(6)) {
      case 0:
        if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        return;
      case 1:
        holder[key] = structuredClone(this.pick(places.map((place) => place.holder[place.key])));
        return;
      case 2:
        if (typeof value === "number") holder[key] = this.pick([value + 1, value - 1, -value, value * 2, value / 2]);
        else if (typeof value === "string") holder[key] = this.text(value);
        return;
      case 3:
        // Defined, since an assignment to __proto__ would make no key.
        if (!Array.isArray(holder))
          Object.defineProperty(holder, this.pick(["x", "__proto__", "constructor", `${key}.weight`, ""]), {
            value,
            enumerable: true,
            configurable: true,
            writable: true,
          });
        return;
      default:
        holder[key] = structuredClone(this.pick(VALUES));
    }
  }
}
