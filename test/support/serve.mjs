/**
 * A small static server for tests, with Range requests, CORS, a log of every request, and rules
 * that make it slow or wrong on purpose. Each call of `serve` opens its own port, and so its own
 * origin.
 */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve, sep } from "node:path";

/**
 * What happens to requests whose path contains `path` (or matches it). Of several rules that match,
 * the one added last applies.
 * @typedef {object} Rule
 * @property {string | RegExp} path
 * @property {number} [largerThan] applies only to bodies of more bytes than this
 * @property {number} [bytesPerSecond] speed of each response
 * @property {number} [status] answers with this status and no file: 404, 500, 403 …
 * @property {Record<string, string>} [headers] goes with `status`
 * @property {boolean} [ignoreRange] answers 200 with the whole file where 206 is due
 * @property {number} [cutAfter] destroys the connection after this many bytes of a longer body
 * @property {string | null} [etag] the ETag instead of the file's own; null: none
 * @property {number} [times] the rule applies so many times and is then removed
 * @property {(bytes: Buffer, begin: number) => Buffer} [change] changes a piece of a body; `begin`:
 * its place in the file
 */

/**
 * A request as it was answered. Times are milliseconds of `performance.now()`; `finished` is
 * undefined while the request is under way.
 * @typedef {object} Entry
 * @property {string} method
 * @property {string} path
 * @property {string | undefined} range the Range header of the request
 * @property {number} begin first byte answered
 * @property {number} end one past the last byte due
 * @property {number} status
 * @property {number} sent bytes of the body written so far
 * @property {number} began
 * @property {number | undefined} finished
 * @property {boolean} cut whether either side ended it early
 */

/**
 * @typedef {object} Server
 * @property {string} origin "http://127.0.0.1:port"
 * @property {number} port
 * @property {Entry[]} log
 * @property {(rule: Rule) => () => void} rule adds a rule; the function returned removes it
 * @property {() => void} clear removes all rules and empties the log
 * @property {() => Promise<void>} close
 */

/** @type {Readonly<Record<string, string>>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, HEAD, OPTIONS",
  "access-control-allow-headers": "*, range",
  "access-control-expose-headers": "content-range, content-length, accept-ranges, etag",
  "access-control-max-age": "600",
};

const PIECE_MS = 50;

/**
 * Serves a folder, and pages given as text. `cors: false` leaves the CORS headers out.
 * @param {{ root?: string, pages?: Readonly<Record<string, string>>, port?: number, host?: string,
 * cors?: boolean }} options
 * @returns {Promise<Server>}
 */
export async function serve({ root, pages = {}, port = 0, host = "127.0.0.1", cors = true }) {
  /** @type {Entry[]} */
  const log = [];
  /** @type {Rule[]} */
  const rules = [];

  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
    /** @type {Entry} */
    const entry = {
      method: request.method ?? "GET",
      path,
      range: request.headers.range,
      begin: 0,
      end: 0,
      status: 0,
      sent: 0,
      began: performance.now(),
      finished: undefined,
      cut: false,
    };
    log.push(entry);
    response.on("close", () => {
      entry.finished = performance.now();
      entry.cut = !response.writableFinished;
    });
    if (cors) for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    const page = pages[path];
    const answered = page === undefined ? answerFile(root, rules, entry, response) : answerPage(page, entry, response);
    answered.catch(() => response.destroy());
  });
  await new Promise((ready) => server.listen(port, host, () => ready(undefined)));
  const address = server.address();
  const chosen = typeof address === "object" && address ? address.port : port;
  return {
    origin: `http://${host}:${chosen}`,
    port: chosen,
    log,
    rule(rule) {
      rules.push(rule);
      return () => lapse(rules, rule);
    },
    clear() {
      rules.length = 0;
      log.length = 0;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/**
 * @param {Rule[]} rules
 * @param {string} path
 * @param {number} bytes that a right answer would have
 */
function ruleFor(rules, path, bytes) {
  const holds = (/** @type {Rule} */ { path: wanted, largerThan, cutAfter }) =>
    (typeof wanted === "string" ? path.includes(wanted) : wanted.test(path)) && bytes > (largerThan ?? cutAfter ?? -1);
  const rule = rules.findLast(holds);
  if (rule?.times !== undefined && --rule.times <= 0) lapse(rules, rule);
  return rule;
}

/**
 * @param {Rule[]} rules
 * @param {Rule} rule
 */
function lapse(rules, rule) {
  const at = rules.indexOf(rule);
  if (at >= 0) rules.splice(at, 1);
}

/**
 * @param {string} page
 * @param {Entry} entry
 * @param {import("node:http").ServerResponse} response
 */
async function answerPage(page, entry, response) {
  entry.status = 200;
  entry.end = entry.sent = Buffer.byteLength(page);
  response.writeHead(200, { "content-type": TYPES[".html"] }).end(page);
}

/**
 * @param {string | undefined} root
 * @param {Rule[]} rules
 * @param {Entry} entry
 * @param {import("node:http").ServerResponse} response
 */
async function answerFile(root, rules, entry, response) {
  /** @param {number} status @param {Record<string, string>} [headers] */
  const empty = (status, headers = {}) => {
    entry.status = status;
    response.writeHead(status, headers).end();
  };
  if (entry.method === "OPTIONS") return empty(204);
  if (entry.method !== "GET" && entry.method !== "HEAD") return empty(405);
  const file = root === undefined ? undefined : await find(resolve(root), entry.path);
  const size = file?.size ?? 0;
  const range = parseRange(entry.range, size);
  const rule = ruleFor(rules, entry.path, range ? range.end - range.begin : size);
  if (rule?.status !== undefined) return empty(rule.status, rule.headers);
  if (!file) return empty(404);
  const asked = rule?.ignoreRange ? undefined : range;
  if (asked && asked.begin >= asked.end) return empty(416, { "content-range": `bytes */${size}` });
  entry.begin = asked?.begin ?? 0;
  entry.end = asked?.end ?? size;
  entry.status = asked ? 206 : 200;
  response.writeHead(entry.status, {
    "content-type": TYPES[extname(file.name)] ?? "application/octet-stream",
    "content-length": String(entry.end - entry.begin),
    "accept-ranges": rule?.ignoreRange ? "none" : "bytes",
    ...(rule?.etag === null ? {} : { etag: rule?.etag ?? `"${file.modified}-${size}"` }),
    "cache-control": "no-cache",
    ...(asked ? { "content-range": `bytes ${asked.begin}-${asked.end - 1}/${file.size}` } : {}),
  });
  if (entry.method === "HEAD" || entry.end === entry.begin) return void response.end();
  await pour(file.name, rule, entry, response);
}

/**
 * @param {string} name
 * @param {Rule | undefined} rule
 * @param {Entry} entry
 * @param {import("node:http").ServerResponse} response
 */
async function pour(name, rule, entry, response) {
  const rate = rule?.bytesPerSecond;
  const piece = rate === undefined ? 2 ** 16 : Math.max(1, Math.floor((rate * PIECE_MS) / 1000));
  const last = Math.min(entry.end, entry.begin + (rule?.cutAfter ?? Number.POSITIVE_INFINITY));
  const closed = new Promise((gone) => response.once("close", gone));
  if (last > entry.begin)
    for await (const read of createReadStream(name, { start: entry.begin, end: last - 1, highWaterMark: piece })) {
      if (response.destroyed) return;
      const bytes = rule?.change ? rule.change(Buffer.from(read), entry.begin + entry.sent) : read;
      const flushed = response.write(bytes);
      entry.sent += bytes.length;
      if (!flushed) await Promise.race([closed, new Promise((free) => response.once("drain", free))]);
      if (rate !== undefined) await new Promise((later) => setTimeout(later, (1000 * bytes.length) / rate));
    }
  if (last < entry.end) response.destroy();
  else response.end();
}

/**
 * @param {string} root
 * @param {string} path
 */
async function find(root, path) {
  const name = normalize(join(root, path.endsWith("/") ? `${path}index.html` : path));
  if (name !== root && !name.startsWith(root + sep)) return undefined;
  const found = await stat(name).catch(() => undefined);
  return found?.isFile() ? { name, size: found.size, modified: found.mtimeMs } : undefined;
}

/**
 * The range that a Range header names; empty if the file has nothing of it. undefined if there is
 * no range that this server knows: HTTP answers that with the whole file.
 * @param {string | undefined} header
 * @param {number} size
 */
function parseRange(header, size) {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  const begin = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  return { begin, end };
}
