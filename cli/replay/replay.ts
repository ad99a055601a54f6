/**
 * Works out what a cache of experts would have done on a recorded conversation: with the books that
 * the pool keeps, without a model.
 */
import { MARKED_PROMPT_TOKENS } from "../../src/engine/session.ts";
import type { Policy, Shape } from "../../src/experts/policy.ts";
import { Residency } from "../../src/experts/residency.ts";
import { NONE } from "../../src/ops/ops.ts";
import type { RouteTrace, Visit } from "../route_trace.ts";

/**
 * What the cache hears at once: the experts of one layer that a token, or the tokens of a segment
 * together, choose. Experts are known by their numbers, layer * E + expert.
 */
export interface Event {
  readonly decode: boolean;
  readonly layer: number;
  /** How many tokens begin with this event: at a token's first layer 1, at its others 0. */
  readonly tokens: number;
  /** The experts that the policy hears of, and that count as hits if they are resident. */
  readonly wanted: readonly number[];
  /** The experts that must be resident, and that count as misses if they are not. */
  readonly needed: readonly number[];
}

export interface Tally {
  hits: number;
  misses: number;
  bytes: number;
  tokens: number;
}

export interface Replayed {
  readonly prefill: Tally;
  readonly decode: Tally;
}

/** A cache of experts, whatever its policy. */
export interface ExpertCache {
  has(id: number): boolean;
  /** Takes note of an event, and of which of its experts were missing. */
  serve(event: Event, missing: readonly number[]): void;
}

/**
 * The events of a trace in the order in which the pool would hear of them: a generated token layer
 * by layer; a prompt by segments, each layer by layer, all tokens of a segment together. Of a
 * prompt, the last 16 tokens count as uses. Traces of other programs do not name segments, so that
 * each prompt is one segment.
 */
export function eventsOf({ visits, experts }: RouteTrace): readonly Event[] {
  const events: Event[] = [];
  const idsOf = (some: readonly Visit[]) =>
    some.flatMap(({ layer, experts: chosen }) => chosen.map((expert) => layer * experts + expert));
  let token = "";
  for (let at = 0; at < visits.length; ) {
    const visit = visits[at]!;
    if (!visit.decode) {
      const isPrompt = (other: Visit) => !other.decode && other.turn === visit.turn;
      const end = endOf(visits, at, (other) => isPrompt(other) && other.segment === visit.segment);
      const segment = visits.slice(at, end);
      const prompt = visits.slice(at, endOf(visits, at, isPrompt));
      const marked = prompt.reduce((last, { position }) => Math.max(last, position), 0) - MARKED_PROMPT_TOKENS;
      // The pool knows the experts of a segment only as a set, in ascending order. A prompt of
      // another program was not served by the pool; its experts are taken in the order of their
      // last use.
      const distinct = visit.segment === null ? byLastUse : ascending;
      const layers = ascending(segment.map(({ layer }) => layer));
      for (const [index, layer] of layers.entries()) {
        const here = segment.filter((other) => other.layer === layer);
        const last = here.filter(({ position }) => position > marked);
        const tokens = index === 0 ? here.length : 0;
        events.push({ decode: false, layer, tokens, wanted: distinct(idsOf(last)), needed: distinct(idsOf(here)) });
      }
      at = end;
      continue;
    }
    const name = `${visit.turn} ${visit.position}`;
    const wanted = ascending(idsOf([visit]));
    events.push({ decode: true, layer: visit.layer, tokens: Number(name !== token), wanted, needed: wanted });
    token = name;
    at++;
  }
  return events;
}

const ascending = (ids: readonly number[]): number[] => [...new Set(ids)].sort((a, b) => a - b);
const byLastUse = (ids: readonly number[]): number[] => [...new Set(ids.toReversed())].reverse();

function endOf(visits: readonly Visit[], begin: number, belongs: (visit: Visit) => boolean): number {
  let end = begin;
  while (end < visits.length && belongs(visits[end]!)) end++;
  return end;
}

/** Replays events on a cache that is empty at the start. */
export function replay({ recordBytes }: RouteTrace, events: readonly Event[], cache: ExpertCache): Replayed {
  const tally = (): Tally => ({ hits: 0, misses: 0, bytes: 0, tokens: 0 });
  const result = { prefill: tally(), decode: tally() };
  for (const event of events) {
    const { decode, layer, tokens, wanted, needed } = event;
    const counted = decode ? result.decode : result.prefill;
    const missing = needed.filter((id) => !cache.has(id));
    const missed = new Set(missing);
    counted.tokens += tokens;
    counted.hits += wanted.filter((id) => !missed.has(id)).length;
    counted.misses += missing.length;
    counted.bytes += missing.length * recordBytes[layer]!;
    cache.serve(event, missing);
  }
  return result;
}

/** Slots that a policy manages, with the books of the pool. */
export class PolicyCache implements ExpertCache {
  private readonly residency: Residency;

  constructor(shape: Shape, slots: number, policy: Policy) {
    this.residency = new Residency(shape, slots, policy);
  }

  has(id: number): boolean {
    return this.residency.slotOf(id) !== NONE;
  }

  /**
   * Does as `Delivery` does: at the start each missing expert gets a slot, as long as there are
   * experts to evict; each further one takes over the slot of the one that was placed first.
   */
  serve({ layer, wanted }: Event, missing: readonly number[]): void {
    const { residency } = this;
    residency.use(layer, wanted);
    const kept = new Set(missing);
    const slots: number[] = [];
    for (const id of missing) {
      const slot = residency.reserve(id, (other) => kept.has(other))?.slot;
      if (slot === undefined) break;
      slots.push(slot);
    }
    for (const [index, id] of missing.entries()) {
      const first = missing[index - slots.length]!;
      residency.settle(id, slots[index] ?? residency.vacate(first));
    }
  }
}
