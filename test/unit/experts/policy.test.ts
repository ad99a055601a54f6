import fc from "fast-check";
import { expect, test } from "vitest";
import { ExpectedUse } from "../../../src/experts/policy.ts";

const SHAPE = { layers: 4, experts: 6, top: 2 };
const ALL = SHAPE.layers * SHAPE.experts;

/** What the policy says it does, in the plainest words: all uses are kept, and everything is looked at. */
class Plain {
  private readonly uses: { readonly id: number; readonly visit: number }[] = [];
  private readonly visits = new Array<number>(SHAPE.layers).fill(0);
  readonly resident = new Set<number>();
  private layer = 0;
  floor = 0;

  visit(layer: number): void {
    this.layer = layer;
    this.visits[layer]!++;
  }

  touch(id: number): void {
    this.uses.push({ id, visit: this.visits[this.layerOf(id)]! });
  }

  victim(needed: (id: number) => boolean): number | undefined {
    const inLayer = (layer: number) => [...this.resident].filter((id) => this.layerOf(id) === layer).length;
    const free = [...this.resident].filter((id) => !needed(id));
    const rich = free.filter((id) => inLayer(this.layerOf(id)) > this.floor);
    const order = (a: number, b: number) =>
      this.distance(b) - this.distance(a) || this.lastUse(a) - this.lastUse(b) || a - b;
    return (rich.length > 0 ? rich : free).sort(order)[0];
  }

  distance(id: number): number {
    const layer = this.layerOf(id);
    const ages = this.uses.filter((use) => use.id === id).map(({ visit }) => this.visits[layer]! - visit);
    const share = ages.reduce((sum, age) => sum + 2 ** (-age / 16), 0) * (1 - 2 ** (-1 / 16));
    const chance = Math.min(1, share + (ages.includes(0) ? 0.2 : 0));
    return ((layer - this.layer + SHAPE.layers) % SHAPE.layers || SHAPE.layers) / SHAPE.layers + 1 / chance;
  }

  private lastUse(id: number): number {
    return this.uses.findLastIndex((use) => use.id === id);
  }

  private layerOf(id: number): number {
    return Math.floor(id / SHAPE.experts);
  }
}

test("the victim is the one that the plain rule names", () => {
  const id = fc.nat({ max: ALL - 1 });
  const action = fc.oneof(
    fc.record({
      kind: fc.constant("visit" as const),
      layer: fc.nat({ max: SHAPE.layers - 1 }),
      picks: fc.uniqueArray(fc.nat({ max: SHAPE.experts - 1 }), { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant("insert" as const), id }),
    fc.record({
      kind: fc.constant("evict" as const),
      needed: fc.uniqueArray(id, { maxLength: 6 }),
      keep: fc.boolean(),
    }),
  );
  fc.assert(
    fc.property(
      fc.array(action, { minLength: 20, maxLength: 120, size: "max" }),
      fc.constantFrom(3, 7, 8, 20),
      (actions, slots) => {
        const [policy, plain] = [new ExpectedUse(SHAPE), new Plain()];
        policy.resize(slots);
        plain.floor = slots >= SHAPE.layers * SHAPE.top ? SHAPE.top : 0;
        for (const step of actions) {
          if (step.kind === "visit")
            for (const side of [policy, plain]) {
              side.visit(step.layer);
              for (const pick of step.picks) side.touch(step.layer * SHAPE.experts + pick);
            }
          else if (step.kind === "insert") {
            if (plain.resident.has(step.id)) continue;
            plain.resident.add(step.id);
            policy.insert(step.id);
          } else {
            const needed = (other: number) => step.needed.includes(other);
            const [got, want] = [policy.victim(0, needed), plain.victim(needed)];
            // Sums in another order may differ in the last bit, so that equals may change places; those that are equal in truth go by last use.
            if (got !== want) {
              const [a, b] = [plain.distance(got!), plain.distance(want!)];
              expect(a).not.toBe(b);
              expect(Math.abs(a - b)).toBeLessThan(1e-9 * b);
            }
            if (got === undefined || step.keep) continue;
            policy.remove(got);
            plain.resident.delete(got);
          }
        }
      },
    ),
    { numRuns: 400, seed: 20261124 },
  );
});
