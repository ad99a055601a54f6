/** Servers that stall, drop connections and answer 5xx or 429, with limits made short. */
import { MixtabError } from "../../src/base/errors.ts";
import { httpSource } from "../../src/source/http.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { type Handler, serve, TestServer } from "../unit/source/server.ts";
import { Draw } from "./draw.ts";
import { Tally, Wrong } from "./tally.ts";
import { answerOf, tinyFiles } from "./tiny_model.ts";

const LIMITS = { retryDelayMs: 1, stallMs: 150 };
/** So many requests in a row for one file are lost at most in an outage that must not be noticed. */
const SHORT = 2;
/** Once in so many requests an outage begins. */
const RARE = 6;

type Trouble = (request: Parameters<Handler>[0], response: Parameters<Handler>[1], right: Handler) => void;

const TROUBLES: readonly Trouble[] = [
  (_, response) => response.destroy(),
  (_, response) => response.writeHead(503).end(),
  (_, response) => response.writeHead(500).end(),
  (_, response) => response.writeHead(429).end(),
  (_, response) => response.writeHead(524).end(),
  () => {}, // no answer at all
  // The headers and no byte; then half of the body and silence, or the end of the connection.
  (request, response, right) => right(request, halved(response, 0, false)),
  (request, response, right) => right(request, halved(response, 0.5, false)),
  (request, response, right) => right(request, halved(response, 0.5, true)),
];

/** A response of which only the first `share` of the body is sent. */
function halved(response: Parameters<Handler>[1], share: number, ends: boolean): Parameters<Handler>[1] {
  const end = (body?: Uint8Array | string) => {
    response.flushHeaders();
    const bytes = body instanceof Uint8Array ? body.subarray(0, body.length * share) : new Uint8Array();
    const gone = () => void (ends && setTimeout(() => response.destroy(), 2));
    if (bytes.length > 0) response.write(bytes, gone);
    else gone();
    return response;
  };
  return new Proxy(response, {
    get: (target, name) => {
      if (name === "end") return end;
      if (name === "writeHead")
        return (...given: Parameters<typeof target.writeHead>) => {
          target.writeHead(...given);
          return { end };
        };
      return Reflect.get(target, name);
    },
  });
}

/**
 * Half of the cases have short outages, which must not be noticed. In the others the server goes
 * down for good: a named error, or, where all had come before, the answer; the next visit, to the
 * same store and a server that is well again, gives the undisturbed answer.
 */
export async function outages(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("stalls and outages");
  const files = await tinyFiles();
  const right = serve(files);
  const server = new TestServer();
  await server.start();
  const visit = (store: ReturnType<typeof memoryStore>) => answerOf(httpSource(server.url, LIMITS), store);
  try {
    server.handler = right;
    const calm = await visit(memoryStore());
    const check = (answer: string) => {
      if (answer !== calm) throw new Wrong("another answer than undisturbed");
    };
    for (let index = 0; index < cases; index++) {
      const draw = new Draw(seed + index);
      const store = memoryStore();
      await tally.run(`${seed + index}`, async () => {
        if (draw.chance(0.5)) {
          server.handler = troubled(draw, right);
          try {
            check(await visit(store));
          } catch (error) {
            throw error instanceof MixtabError ? new Wrong(`a short outage was noticed: ${error.message}`) : error;
          }
          return;
        }
        const last = draw.below(12);
        const trouble = draw.pick(TROUBLES);
        let count = 0;
        server.handler = (request, response) => {
          if (count++ < last) right(request, response);
          else trouble(request, response, right);
        };
        const first = await visit(store).then(check, (error) => error as unknown);
        server.handler = right;
        check(await visit(store));
        if (first) throw first;
      });
    }
  } finally {
    await server.stop();
  }
  return tally;
}

/** Answers right, but for outages of at most SHORT requests in a row for one file. */
function troubled(draw: Draw, right: Handler): Handler {
  const lost = new Map<string, number>();
  return (request, response) => {
    const file = request.url ?? "";
    const before = lost.get(file) ?? 0;
    const isOut = before > 0 ? before < SHORT && draw.chance(0.5) : draw.below(RARE) === 0;
    lost.set(file, isOut ? before + 1 : 0);
    if (isOut) draw.pick(TROUBLES.slice(0, 5))(request, response, right);
    else right(request, response);
  };
}
