import { assert, defined } from "../base/assert.ts";
import type { PublishedName } from "../base/published_name.ts";
import type { Cache, History, MoeLayer, Weight } from "../ops/ops.ts";
import type { Builder, CacheSpec, ExpertsSpec, HistorySpec, Speech, WeightSpec } from "./builder.ts";

export interface RopeSpec {
  readonly frequencies: Float32Array;
  readonly scale: number;
}

/** What a model declares, in order: everything that must be loaded before it can run. */
export interface Blueprint {
  readonly weights: readonly WeightSpec[];
  readonly caches: readonly CacheSpec[];
  /** The inverse frequencies of each rope table. */
  readonly ropes: readonly RopeSpec[];
  readonly histories: readonly HistorySpec[];
  /** By MoE layer. */
  readonly experts: readonly ExpertsSpec[];
}

/** What each part of a blueprint became on a device. */
export interface Parts {
  readonly weights: readonly Weight[];
  readonly caches: readonly Cache[];
  readonly ropes: readonly Weight[];
  readonly histories: readonly History[];
  readonly experts: readonly MoeLayer[];
}

type Build = (m: Builder) => Speech;

/**
 * Builds a model on paper, of stand-ins that cannot be read, and returns what it declared: all that
 * must be loaded. `has`: see {@link Builder}.
 */
export function buildOnPaper(build: Build, has: Builder["has"]): Blueprint {
  const weights: WeightSpec[] = [];
  const caches: CacheSpec[] = [];
  const ropes: RopeSpec[] = [];
  const histories: HistorySpec[] = [];
  const experts: ExpertsSpec[] = [];
  const put = <S, T extends object>(list: S[], spec: S): T => {
    list.push(spec);
    return onPaper();
  };
  build({
    has,
    weight: (spec) => put(weights, spec),
    cache: (spec) => put(caches, spec),
    rope: (frequencies, scale) => put(ropes, { frequencies, scale }),
    history: (spec) => put(histories, spec),
    experts: (spec) => put(experts, spec),
  });
  assert(new Set(weights.map(weightKey)).size === weights.length, "each weight is declared once");
  return { weights, caches, ropes, histories, experts };
}

/**
 * Builds a model of the loaded parts of its blueprint. The model must ask for the same parts as on
 * paper, in the same order.
 */
export function buildLoaded(build: Build, has: Builder["has"], { weights: specs }: Blueprint, parts: Parts): Speech {
  const [weights, caches] = [inOrder(parts.weights), inOrder(parts.caches)];
  const [ropes, experts] = [inOrder(parts.ropes), inOrder(parts.experts)];
  const histories = inOrder(parts.histories);
  const wanted = inOrder(specs.map(weightKey));
  const speech = build({
    has,
    weight(spec) {
      assert(weightKey(spec) === wanted.next(), ALIKE);
      return weights.next();
    },
    cache: caches.next,
    rope: ropes.next,
    history: histories.next,
    experts: experts.next,
  });
  assert(
    [weights, caches, ropes, histories, experts].every(({ left }) => left() === 0),
    ALIKE,
  );
  return speech;
}

const ALIKE = "a model is built twice alike";

/**
 * The key of a weight, also in the store: the first of its names, then its index in a stack and its
 * first row where it has them, as in `experts.gate_up_proj[3]+768`.
 */
export function weightKey({ names }: WeightSpec): string {
  const { module, stack, firstRow }: PublishedName = defined(names[0], "a name");
  return `${module}${stack === undefined ? "" : `[${stack}]`}${firstRow === undefined ? "" : `+${firstRow}`}`;
}

/** The stand-in for a part on paper. To read a field of it is a bug, and throws. */
function onPaper<T extends object>(): T {
  const get = (_: object, field: string | symbol) =>
    assert(false, `${String(field)} of a part is read once it is there`);
  return new Proxy<object>({}, { get }) as T;
}

/** Gives the parts of a list one after the other. */
function inOrder<T>(parts: readonly T[]): { readonly next: () => T; readonly left: () => number } {
  let taken = 0;
  return {
    next: () => defined(parts[taken++], "another part"),
    left: () => parts.length - taken,
  };
}
