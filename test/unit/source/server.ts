import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server on this machine that a test tells what to answer. */
export class TestServer {
  /** Every request so far: method, path, Range. */
  readonly requests: string[] = [];
  handler: Handler = (_, response) => response.writeHead(404).end();
  private readonly server = createServer((request, response) => {
    this.requests.push([request.method, request.url, request.headers.range].filter(Boolean).join(" "));
    this.handler(request, response);
  });

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Answers as a static file server does; `hideTotal` as one that does not know a file's length. */
export function serve(files: Readonly<Record<string, Uint8Array>>, { hideTotal = false } = {}): Handler {
  return (request, response) => {
    const file = files[decodeURIComponent(new URL(request.url!, "http://x").pathname.slice(1))];
    if (!file) return void response.writeHead(404).end("no such file");
    if (request.method === "HEAD") return void response.writeHead(200, { "Content-Length": file.length }).end();
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range) return void response.writeHead(200, { "Content-Length": file.length }).end(file);
    const begin = Number(range[1]);
    const end = Math.min(Number(range[2]) + 1, file.length);
    if (begin >= file.length) return void response.writeHead(416, { "Content-Range": `bytes */${file.length}` }).end();
    response.writeHead(206, {
      "Content-Length": end - begin,
      "Content-Range": `bytes ${begin}-${end - 1}/${hideTotal ? "*" : file.length}`,
    });
    response.end(file.subarray(begin, end));
  };
}
