/** Route traces: which experts served which token. BigMoeOnEdge's CSV (v1), and mixtab's, which has three columns more. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { MixtabError } from "../src/base/errors.ts";

/** The experts that one token wanted in one layer. */
export interface Visit {
  readonly turn: number;
  readonly decode: boolean;
  readonly position: number;
  readonly layer: number;
  /** By rank. */
  readonly experts: readonly number[];
  /** Of the chosen experts, by rank; empty where the trace has none. */
  readonly weights: readonly number[];
  /** Of the prompt; null where the trace does not say. */
  readonly segment: number | null;
}

export interface RouteTrace {
  readonly model: string;
  readonly layers: number;
  /** E, per layer. */
  readonly experts: number;
  /** A, per token and layer. */
  readonly top: number;
  /** Of each layer; 0 where the trace does not say. */
  readonly recordBytes: readonly number[];
  /** In the order of the file. */
  readonly visits: readonly Visit[];
}

/** Lines that a trace may have: more is not a trace of a conversation. */
const MOST_LINES = 50_000_000;
const NEEDED = ["phase", "step", "layer", "slot", "expert"] as const;

/** A CSV, gzipped or not. Errors: not-found; bad-request, with the line. */
export async function readRouteTrace(path: string): Promise<RouteTrace> {
  const file = await readFile(path).catch((error) => {
    throw new MixtabError(
      "not-found",
      `${path} cannot be read. Give the path of a CSV that engine.trace() wrote.`,
      error,
    );
  });
  const zipped = file[0] === 0x1f && file[1] === 0x8b;
  return parseRouteTrace((zipped ? gunzipSync(file) : file).toString("utf8"), path);
}

/** `name` is what errors call it. */
export function parseRouteTrace(text: string, name = "the trace"): RouteTrace {
  const lines = text.split(/\r?\n/);
  if (lines.length > MOST_LINES) throw bad(name, lines.length, `has more than ${MOST_LINES} lines`);
  const head: Record<string, string> = {};
  const bytes = new Map<number, number>();
  let columns: readonly string[] | null = null;
  const visits: (Visit & { experts: number[]; weights: number[] })[] = [];
  for (const [index, line] of lines.entries()) {
    if (line === "") continue;
    if (line.startsWith("#")) {
      const fields = Object.fromEntries([...line.matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [key!, value!]));
      if (fields.layer === undefined) Object.assign(head, fields);
      else bytes.set(Number(fields.layer), Number(fields.expert_bytes));
      continue;
    }
    const cells = line.split(",");
    if (columns === null) {
      columns = cells;
      const missing = NEEDED.filter((column) => !cells.includes(column));
      if (missing.length > 0) throw bad(name, index + 1, `has no column ${missing.join(", ")}`);
      continue;
    }
    if (cells.length !== columns.length)
      throw bad(name, index + 1, `has ${cells.length} cells and ${columns.length} columns`);
    const cell = (column: string): number | null => {
      const at = columns!.indexOf(column);
      if (at < 0) return null;
      const value = Number(cells[at]);
      if (cells[at] === "" || !(value >= 0)) throw bad(name, index + 1, `has "${cells[at]}" as ${column}`);
      return value;
    };
    const [turn, position, layer] = [cell("turn") ?? 0, cell("step")!, cell("layer")!];
    const [decode, rank, expert, weight] = [cell("phase") === 1, cell("slot")!, cell("expert")!, cell("weight")];
    let visit = visits.at(-1);
    const same =
      visit?.turn === turn && visit.position === position && visit.layer === layer && visit.decode === decode;
    if (!visit || !same) {
      visit = { turn, decode, position, layer, experts: [], weights: [], segment: decode ? null : cell("segment") };
      visits.push(visit);
    }
    if (rank !== visit.experts.length)
      throw bad(name, index + 1, `has rank ${rank} where ${visit.experts.length} follows`);
    visit.experts.push(expert);
    if (weight !== null) visit.weights.push(weight);
  }
  if (columns === null) throw bad(name, 1, "is no route trace: it has no line of columns");
  if (visits.length === 0) throw bad(name, lines.length, "has no routes");
  const most = (numbers: readonly number[]) => numbers.reduce((a, b) => Math.max(a, b), 0);
  const layers = Number(head.n_layer ?? most(visits.map(({ layer }) => layer)) + 1);
  const experts = Number(head.n_expert ?? most(visits.flatMap((visit) => visit.experts)) + 1);
  const odd = visits.find((visit) => visit.layer >= layers || visit.experts.some((expert) => expert >= experts));
  if (odd)
    throw bad(
      name,
      2,
      `says ${layers} layers of ${experts} experts, but names expert ${odd.experts} of layer ${odd.layer}`,
    );
  return {
    model: head.model ?? name,
    layers,
    experts,
    top: Number(head.n_expert_used ?? most(visits.map((visit) => visit.experts.length))),
    recordBytes: Array.from({ length: layers }, (_, layer) => bytes.get(layer) ?? 0),
    visits,
  };
}

function bad(name: string, line: number, what: string): MixtabError {
  return new MixtabError(
    "bad-request",
    `${name}, line ${line}, ${what}. A route trace is a CSV with the columns ${NEEDED.join(", ")}, as engine.trace() writes it.`,
  );
}
