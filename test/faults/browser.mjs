/** A Chromium of our own that can be killed, a profile on disk, and a server that hears its page. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { CHROMIUM_FLAGS, findChromium } from "../support/chromium.mjs";
import { PAGE } from "./page.mjs";

const ROOT = join(import.meta.dirname, "../..");
const TYPES = { js: "text/javascript", json: "application/json", html: "text/html" };
/** Bodies are sent in pieces of this length, with a pause after each, so that a fill can be killed. */
const [PIECE_BYTES, PAUSE_MS] = [16 * 1024, 4];
/** The longest that a page may take, on a busy machine. */
const PATIENCE_MS = 120_000;

/**
 * Serves the page, the built library and a model's files. `close` ends it and removes the profile.
 * @param {Readonly<Record<string, Uint8Array>>} files
 */
export async function openStage(files) {
  const lib = join(ROOT, "dist/lib");
  if (!existsSync(join(lib, "mixtab.js"))) throw new Error("dist/lib is not there: run `npm run build:lib` first.");
  const profile = mkdtempSync(join(tmpdir(), "mixtab-faults-"));
  const waiting = new Map();
  /** Resolves when the model's config.json is asked for next. */
  let begun = () => {};

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    if (pathname === "/run") return response.setHeader("content-type", TYPES.html).end(PAGE);
    if (pathname === "/report") {
      const { id, ...what } = JSON.parse(await textOf(request));
      waiting.get(id)?.(what);
      return response.end();
    }
    if (pathname === "/model/config.json") begun();
    const name = normalize(pathname.replace(/^\/\w+\//, ""));
    const bytes = pathname.startsWith("/lib/") ? await readFile(join(lib, name)).catch(() => undefined) : files[name];
    if (!bytes) return response.writeHead(404).end();
    await send(request, response, bytes, TYPES[name.split(".").at(-1)] ?? "application/octet-stream");
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const origin = `http://127.0.0.1:${server.address().port}`;
  let runs = 0;

  /** Starts a browser at a page that does `mode` with `stores`. */
  function start(stores, mode = "visit") {
    const id = String(runs++);
    const reported = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the page has not reported")), PATIENCE_MS);
      waiting.set(id, (what) => {
        clearTimeout(timer);
        if (what.error) reject(new Error(what.error));
        else resolve(what.results);
      });
    });
    reported.catch(() => {}); // of a browser that was killed nobody waits for the report
    const opening = new Promise((resolve) => {
      begun = resolve;
    });
    const url = `${origin}/run?${new URLSearchParams({ id, mode, stores: stores.join(",") })}`;
    const args = [...CHROMIUM_FLAGS, "--remote-debugging-port=0", `--user-data-dir=${profile}`, url];
    const browser = spawn(findChromium(), args, { detached: true, stdio: "ignore" });
    const ended = new Promise((resolve) => browser.once("close", resolve));
    const kill = async () => {
      try {
        process.kill(-browser.pid, "SIGKILL");
      } catch {}
      await ended;
    };
    return { opening, reported, kill };
  }

  return {
    start,
    /** One visit to its end. */
    async visit(stores, mode) {
      const { reported, kill } = start(stores, mode);
      try {
        return await reported;
      } finally {
        await kill();
      }
    },
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function textOf(request) {
  let text = "";
  for await (const piece of request) text += piece;
  return text;
}

/** A file or a range of it, slowly. */
async function send(request, response, bytes, type) {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const begin = range ? Number(range[1]) : 0;
  const end = range ? Math.min(bytes.length, Number(range[2]) + 1) : bytes.length;
  response.writeHead(range ? 206 : 200, {
    "content-type": type,
    "content-length": String(end - begin),
    "cache-control": "no-cache",
    ...(range ? { "content-range": `bytes ${begin}-${end - 1}/${bytes.length}` } : {}),
  });
  for (let at = begin; at < end && !response.destroyed; at += PIECE_BYTES) {
    response.write(bytes.subarray(at, Math.min(end, at + PIECE_BYTES)));
    if (range) await new Promise((later) => setTimeout(later, PAUSE_MS));
  }
  response.end();
}
