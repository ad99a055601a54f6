/** What a cache of experts would have done on a recorded conversation: the pool's bookkeeping, without a model. */
import { MARKED_PROMPT_TOKENS } from "../../src/engine/session.ts";
import type { Policy } from "../../src/experts/policy.ts";
import { Residency, type Shape } from "../../src/experts/residency.ts";
import type { RouteTrace, Visit } from "../route_trace.ts";

/** What happens to a layer at once. Experts by number, ascending. */
export interface Event {
  readonly decode: boolean;
  readonly layer: number;
  /** A token, or the chunks of a segment together, begin; not to be relied on in prompts that are taken row by row. */
  readonly begins: boolean;
  /** What enters the policy and the hits. */
  readonly wanted: readonly number[];
  /** What must be there. */
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

/** A policy that is told where in the trace it is. */
export interface WatchingPolicy extends Policy {
  event?(index: number): void;
}

const ascending = (ids: Iterable<number>): number[] => [...new Set(ids)].sort((a, b) => a - b);

/**
 * The order in which the pool hears of a trace. Our own prompts go by segments: layer by layer, all their tokens together, of which the prompt's last 16 are touched.
 * Prompts that do not say so are taken row by row.
 */
export function eventsOf({ visits, experts }: RouteTrace): readonly Event[] {
  const events: Event[] = [];
  const idsOf = ({ layer, experts: chosen }: Visit) => chosen.map((expert) => layer * experts + expert);
  let token = "";
  for (let at = 0; at < visits.length; ) {
    const visit = visits[at]!;
    if (visit.segment !== null) {
      const end = endOf(visits, at, (other) => other.turn === visit.turn && other.segment === visit.segment);
      const promptEnd = endOf(visits, at, (other) => other.turn === visit.turn && other.segment !== null);
      const marked = visits[promptEnd - 1]!.position - MARKED_PROMPT_TOKENS;
      const segment = visits.slice(at, end);
      const layers = ascending(segment.map(({ layer }) => layer));
      for (const [index, layer] of layers.entries()) {
        const here = segment.filter((other) => other.layer === layer);
        const last = here.filter(({ position }) => position > marked);
        const [wanted, needed] = [last, here].map((some) => ascending(some.flatMap(idsOf)));
        events.push({ decode: false, layer, begins: index === 0, wanted: wanted!, needed: needed! });
      }
      at = end;
      continue;
    }
    const name = `${visit.turn} ${visit.decode} ${visit.position}`;
    const begins = name !== token;
    token = name;
    const wanted = ascending(idsOf(visit));
    events.push({ decode: visit.decode, layer: visit.layer, begins, wanted, needed: wanted });
    at++;
  }
  return events;
}

function endOf(visits: readonly Visit[], begin: number, belongs: (visit: Visit) => boolean): number {
  let end = begin;
  while (end < visits.length && belongs(visits[end]!)) end++;
  return end;
}

/** Replays events with so many slots. */
export function replay(
  trace: RouteTrace,
  events: readonly Event[],
  slots: number,
  makePolicy: (shape: Shape, events: readonly Event[], slots: number) => WatchingPolicy,
): Replayed {
  const policy = makePolicy(trace, events, slots);
  const residency = new Residency(trace, slots, policy);
  const tally = (): Tally => ({ hits: 0, misses: 0, bytes: 0, tokens: 0 });
  const result = { prefill: tally(), decode: tally() };
  for (const [index, { decode, layer, begins, wanted, needed }] of events.entries()) {
    policy.event?.(index);
    const counted = decode ? result.decode : result.prefill;
    if (begins) counted.tokens++;
    const missing = needed.filter((id) => !isResident(residency, id));
    const missed = new Set(missing);
    counted.hits += wanted.filter((id) => !missed.has(id)).length;
    residency.use(layer, wanted);
    counted.misses += missing.length;
    counted.bytes += missing.length * trace.recordBytes[layer]!;
    bring(residency, missing);
  }
  return result;
}

/** As `Delivery` does it: victims first, then what was brought here hands its slot on, the first first. */
function bring(residency: Residency, missing: readonly number[]): void {
  const brought: number[] = [];
  for (const id of missing) {
    const kept = new Set(missing);
    const slot = residency.reserve(id, (other) => kept.has(other))?.slot ?? residency.vacate(brought.shift()!);
    residency.settle(id, slot);
    brought.push(id);
  }
}

const isResident = (residency: Residency, id: number): boolean => residency.slotOf(id) !== 0xffffffff;
