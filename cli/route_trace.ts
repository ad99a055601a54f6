/**
 * Reads route traces, which record which experts served which token: CSV files of BigMoeOnEdge
 * (v1), or of mixtab, which have three more columns.
 */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { MixtabError } from "../src/base/errors.ts";

/** The experts that one token wanted in one layer. */
export interface Visit {
  readonly turn: number;
  readonly decode: boolean;
  readonly position: number;
  readonly layer: number;
  /** The chosen experts by rank: the first choice comes first. */
  readonly experts: readonly number[];
  /** The weights of the chosen experts, by rank. Empty if the trace has none. */
  readonly weights: readonly number[];
  /**
   * The segment of the prompt to which the token belongs; null for a generated token, or if the
   * trace does not say.
   */
  readonly segment: number | null;
}

export interface RouteTrace {
  readonly model: string;
  readonly layers: number;
  /** E, the number of experts per layer. */
  readonly experts: number;
  /** A, the number of experts per token and layer. */
  readonly top: number;
  /** By layer, the bytes of an expert's record; 0 if the trace does not say. */
  readonly recordBytes: readonly number[];
  /** All visits, in the order of the file. */
  readonly visits: readonly Visit[];
}

/**
 * MOST_BYTES: the longest text that fits into a string. MOST_LAYERS and MOST_EXPERTS: more than any
 * model has, so that a damaged header cannot ask for gigabytes.
 */
const MOST_BYTES = 2 ** 29 - 64;
const MOST_LAYERS = 2 ** 12;
const MOST_EXPERTS = 2 ** 16;
const NEEDED = ["phase", "step", "layer", "slot", "expert"] as const;

/**
 * Reads a trace from a CSV file, gzipped or not. Errors: not-found; bad-request, which names the
 * line.
 */
export async function readRouteTrace(path: string): Promise<RouteTrace> {
  const file = await readFile(path).catch((error) => {
    throw new MixtabError(
      "not-found",
      `${path} cannot be read. Give the path of a CSV that engine.trace() wrote.`,
      error,
    );
  });
  return parseRouteTrace(textOf(file, path), path);
}

function textOf(file: Buffer, name: string): string {
  const zipped = file[0] === 0x1f && file[1] === 0x8b;
  try {
    const bytes = zipped ? gunzipSync(file, { maxOutputLength: MOST_BYTES }) : file;
    if (bytes.length <= MOST_BYTES) return bytes.toString("utf8");
  } catch {
    throw bad(name, 1, "is gzipped, and damaged or too long");
  }
  throw bad(name, 1, `begins more than ${MOST_BYTES} bytes`);
}

/** Parses a trace. Errors call it `name`. */
export function parseRouteTrace(text: string, name = "the trace"): RouteTrace {
  const head = new Map<string, string>();
  const bytes = new Map<number, number>();
  const visits: OpenVisit[] = [];
  let columns: readonly string[] | null = null;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const complain = (what: string) => bad(name, index + 1, what);
    if (line === "") continue;
    if (line.startsWith("#")) {
      const fields = new Map([...line.matchAll(/(\w+)=(\S+)/g)].map(([, key, value]) => [key!, value!]));
      const layer = fields.get("layer");
      if (layer === undefined) for (const [key, value] of fields) head.set(key, value);
      else bytes.set(whole(layer, "layer", complain), whole(fields.get("expert_bytes"), "expert_bytes", complain));
      continue;
    }
    const cells = line.split(",");
    if (columns !== null) {
      if (cells.length !== columns.length) throw complain(`has ${cells.length} cells and ${columns.length} columns`);
      addRow(visits, columns, cells, complain);
      continue;
    }
    const missing = NEEDED.filter((column) => !cells.includes(column));
    if (missing.length > 0) throw complain(`has no column ${missing.join(", ")}`);
    columns = cells;
  }
  if (columns === null) throw bad(name, 1, "is no route trace: it has no line of columns");
  if (visits.length === 0) throw bad(name, 1, "begins a trace that has no routes");
  return { ...shapeOf(visits, head, bytes, name), model: head.get("model") ?? name, visits };
}

interface OpenVisit extends Visit {
  readonly experts: number[];
  readonly weights: number[];
}

type Complain = (what: string) => MixtabError;

/** Adds a row: it is the next rank of the last visit, or begins a new visit. */
function addRow(visits: OpenVisit[], columns: readonly string[], cells: readonly string[], complain: Complain): void {
  const cell = (column: string) => whole(cells[columns.indexOf(column)], column, complain);
  const [turn, phase] = [columns.includes("turn") ? cell("turn") : 0, cell("phase")];
  const [position, layer, rank, expert] = [cell("step"), cell("layer"), cell("slot"), cell("expert")];
  if (phase > 1) throw complain(`has ${phase} as phase, which is 0 for prompts and 1 for generated tokens`);
  if (layer >= MOST_LAYERS || expert >= MOST_EXPERTS) throw complain(`has layer ${layer} and expert ${expert}`);
  const decode = phase === 1;
  let visit = visits.at(-1);
  const same = visit?.turn === turn && visit.position === position && visit.layer === layer && visit.decode === decode;
  if (!visit || !same) {
    const segment = !decode && columns.includes("segment") ? cell("segment") : null;
    visit = { turn, decode, position, layer, experts: [], weights: [], segment };
    visits.push(visit);
  }
  if (rank !== visit.experts.length) throw complain(`has rank ${rank} where ${visit.experts.length} follows`);
  if (visit.experts.includes(expert)) throw complain(`has expert ${expert} a second time`);
  visit.experts.push(expert);
  if (!columns.includes("weight")) return;
  const weight = cells[columns.indexOf("weight")]!;
  if (weight === "" || !Number.isFinite(Number(weight))) throw complain(`has "${weight}" as weight`);
  visit.weights.push(Number(weight));
}

/**
 * The shape of the model as the header gives it; where the header gives none, the smallest that the
 * routes allow. Throws if the routes do not fit what the header says.
 */
function shapeOf(
  visits: readonly Visit[],
  head: ReadonlyMap<string, string>,
  bytes: ReadonlyMap<number, number>,
  name: string,
): Pick<RouteTrace, "layers" | "experts" | "top" | "recordBytes"> {
  const said = (key: string, most: number, least: number) => {
    const text = head.get(key);
    if (text === undefined) return least;
    const value = whole(text, key, (what) => bad(name, 2, what));
    if (value < least || value > most) throw bad(name, 2, `says ${key}=${value}, and the routes have ${least}`);
    return value;
  };
  const most = (of: (visit: Visit) => number) => visits.reduce((found, visit) => Math.max(found, of(visit)), 0);
  const layers = said("n_layer", MOST_LAYERS, most((visit) => visit.layer) + 1);
  const experts = said("n_expert", MOST_EXPERTS, most((visit) => Math.max(...visit.experts)) + 1);
  const top = said(
    "n_expert_used",
    experts,
    most((visit) => visit.experts.length),
  );
  return { layers, experts, top, recordBytes: Array.from({ length: layers }, (_, layer) => bytes.get(layer) ?? 0) };
}

function whole(text: string | undefined, what: string, complain: Complain): number {
  if (!/^\d{1,15}$/.test(text ?? "")) throw complain(`has "${text ?? ""}" as ${what}`);
  return Number(text);
}

function bad(name: string, line: number, what: string): MixtabError {
  return new MixtabError(
    "bad-request",
    `${name}, line ${line}, ${what}. A route trace is a CSV with the columns ${NEEDED.join(", ")}, as engine.trace() writes it.`,
  );
}
