import { cut, describe, discard, isAbsent, isRefused, noRange, statusError } from "./http_answer.ts";
import { type Answer, type HttpOptions, HttpWire } from "./http_wire.ts";
import { modelName } from "./model_name.ts";
import type { Source } from "./source.ts";
import { checkTextBytes, isOptional, readText } from "./text_files.ts";

export type { HttpOptions } from "./http_wire.ts";

/**
 * Files below a URL, by Range requests (RFC 9110, section 14). Only 206 with exactly the bytes
 * asked for is accepted, so a server that ignores Range never sends a whole model. Errors:
 * not-found, no-range, http, network, changed, too-large.
 */
export function httpSource(baseUrl: string, options: HttpOptions = {}): Source {
  const base = new URL(baseUrl);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const wire = new HttpWire(base, options);

  return {
    name: modelName(base),
    remote: true,
    versions: wire.versions,
    waits: wire.waits,
    again: () => httpSource(baseUrl, { ...options, waits: wire.waits }),

    text: (file, signal) =>
      wire.insist(signal, async () => {
        const answer = await wire.request(file, { cache: "no-cache" }, signal);
        const { response } = answer;
        const absent = isAbsent(response, file) || (isRefused(response) && isOptional(file));
        if (absent) return await discard(response, undefined);
        if (!response.ok) throw await discard(response, statusError(response, file));
        try {
          checkTextBytes(file, Number(describe(response).length));
          return await readText(file, answer.pieces());
        } catch (error) {
          throw await discard(response, error);
        }
      }),

    size: (file, signal) =>
      wire.insist(signal, async () => {
        const known = wire.knownLength(file);
        if (known !== undefined) return known;
        // Two bytes: sirv, which serves Vite's previews, takes "0-0" for the whole file.
        const { response } = await wire.range(file, 0, 2, signal);
        return await discard(response, wire.knownLength(file) ?? (await wire.length(file, signal)));
      }),

    look: (file, signal) => wire.insist(signal, async () => void (await wire.length(file, signal))),

    async *read(file, begin, end, signal) {
      const attempts = wire.attempts();
      for (let at = begin; at < end; ) {
        const from = at;
        try {
          const answer = await wire.range(file, at, end, signal);
          for await (const piece of exactly(answer, file, end - at, signal)) {
            at += piece.length;
            yield piece;
          }
        } catch (error) {
          await attempts.again(error, at > from, signal);
        }
      }
    },
  };
}

/** The pieces of a body that must be `bytes` bytes long. */
async function* exactly({ response, pieces }: Answer, file: string, bytes: number, signal: AbortSignal | undefined) {
  if (!response.body) throw noRange(file, "its answer has no body");
  let missing = bytes;
  for await (const piece of pieces()) {
    missing -= piece.length;
    if (missing < 0) throw noRange(file, `it sent more than the ${bytes} bytes asked for`);
    yield piece;
  }
  if (missing > 0) throw cut(file, undefined, signal);
}
