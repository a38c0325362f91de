/**
 * A small object store over HTTP, for tests: ranges, conditional puts, ListObjectsV2 with pages, and any answer a test
 * wants to give instead. Buckets need no making.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, beforeAll } from "@jest/globals";

export interface ServerOptions {
  /** "strict": RFC 9110. "bare": If-Match without quotes only, as Ceph 16. "ignored": every put succeeds. "refused": 501. */
  conditions?: "strict" | "bare" | "ignored" | "ignores If-Match" | "refused";
  /** "unique": new with every write. "md5": of the bytes, as S3. "none": not sent. "weak": W/ before it. */
  etags?: "unique" | "md5" | "none" | "weak";
  /** False: the whole value with status 200, whatever Range says. */
  ranges?: boolean;
  /** Denied lists, and 403 for missing keys. */
  hidesMissing?: boolean;
  /** Keys a page of a list. */
  pageKeys?: number;
}

export interface SeenRequest {
  number: number;
  method: string;
  /** With bucket and query, as it was sent. */
  path: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

/** What happens to a request: true when it has been answered (or never will be). */
export type Intervention = (
  request: SeenRequest,
  response: ServerResponse,
  serve: () => void,
) => boolean | undefined;

interface Value {
  bytes: Buffer;
  etag: string;
}

export class ObjectServer {
  readonly options: ServerOptions;
  readonly requests: SeenRequest[] = [];
  readonly values = new Map<string, Value>();
  intervene: Intervention | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #writes = 0;

  constructor(options: ServerOptions = {}) {
    this.options = options;
    this.#server = createServer((request, response) => void this.#take(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections made so far that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Puts a value as another client would, past all conditions. */
  write(path: string, bytes: Uint8Array): string {
    const etag =
      this.options.etags === "unique" || this.options.etags === undefined
        ? `w${++this.#writes}`
        : createHash("md5").update(bytes).digest("hex");
    this.values.set(path, { bytes: Buffer.from(bytes), etag });
    return etag;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    try {
      for await (const part of request) parts.push(part as Buffer);
    } catch {
      return;
    }
    const { method = "", url = "", headers } = request;
    const number = this.requests.length;
    const seen = { number, method, path: url, headers, body: Buffer.concat(parts) };
    this.requests.push(seen);
    const serve = (): void => this.#serve(seen, response);
    if (this.intervene?.(seen, response, serve) !== true) serve();
  }

  #serve({ method, path, headers, body }: SeenRequest, response: ServerResponse): void {
    const url = new URL(path, "http://x");
    if (url.searchParams.get("list-type") === "2") {
      if (this.options.hidesMissing) fail(response, 403, "AccessDenied");
      else this.#list(url, response);
      return;
    }
    const current = this.values.get(url.pathname);
    if (method === "GET") this.#get(current, headers.range, response);
    else if (method === "DELETE") {
      this.values.delete(url.pathname);
      end(response, 204);
    } else if (method === "PUT") this.#put(url.pathname, current, headers, body, response);
    else end(response, 405);
  }

  #put(
    path: string,
    current: Value | undefined,
    headers: SeenRequest["headers"],
    body: Buffer,
    response: ServerResponse,
  ): void {
    const refusal = this.#refusal(current, headers);
    if (refusal !== undefined) fail(response, ...refusal);
    else end(response, 200, this.#tag(this.write(path, body)));
  }

  #refusal(current: Value | undefined, headers: SeenRequest["headers"]): [number, string] | undefined {
    const { conditions = "strict" } = this.options;
    const ifMatch = headers["if-match"];
    const ifNoneMatch = headers["if-none-match"];
    if (conditions === "refused" && (ifMatch ?? ifNoneMatch) !== undefined) return [501, "NotImplemented"];
    if (conditions === "ignored") return undefined;
    if (ifNoneMatch === "*" && current !== undefined) return [412, "PreconditionFailed"];
    if (ifMatch === undefined || conditions === "ignores If-Match") return undefined;
    if (current === undefined) return [404, "NoSuchKey"];
    const wanted = conditions === "bare" ? current.etag : `"${current.etag}"`;
    return ifMatch === wanted ? undefined : [412, "PreconditionFailed"];
  }

  #get(value: Value | undefined, range: string | undefined, response: ServerResponse): void {
    if (value === undefined) {
      if (this.options.hidesMissing) fail(response, 403, "AccessDenied");
      else fail(response, 404, "NoSuchKey");
      return;
    }
    const { bytes, etag } = value;
    const asked = this.options.ranges === false ? null : /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
    const first = Number(asked?.[1] ?? 0);
    const last = Math.min(Number(asked?.[2] ?? Number.MAX_VALUE), bytes.length - 1);
    const extent = { "Content-Range": `bytes ${first}-${last}/${bytes.length}` };
    if (asked === null) end(response, 200, this.#tag(etag), bytes);
    else if (first >= bytes.length) fail(response, 416, "InvalidRange");
    else end(response, 206, { ...this.#tag(etag), ...extent }, bytes.subarray(first, last + 1));
  }

  #tag(etag: string): Record<string, string> {
    const { etags } = this.options;
    if (etags === "none") return {};
    return { ETag: etags === "weak" ? `W/"${etag}"` : `"${etag}"` };
  }

  #list(url: URL, response: ServerResponse): void {
    const bucket = `/${url.pathname.split("/")[1]}/`;
    const prefix = bucket + (url.searchParams.get("prefix") ?? "");
    const after = url.searchParams.get("continuation-token") ?? "";
    const keys = [...this.values.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = keys.slice(0, this.options.pageKeys ?? 1000);
    const items = page.map((key) => {
      const size = this.values.get(key)!.bytes.length;
      return `<Contents><Key>${escaped(key.slice(bucket.length))}</Key><Size>${size}</Size></Contents>`;
    });
    const rest =
      page.length < keys.length
        ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${page.at(-1)}</NextContinuationToken>`
        : "<IsTruncated>false</IsTruncated>";
    const xml = `<?xml version="1.0"?><ListBucketResult xmlns="x">${rest}${items.join("")}</ListBucketResult>`;
    end(response, 200, { "Content-Type": "application/xml" }, Buffer.from(xml));
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (one) => `&#${one.charCodeAt(0)};`);
}

function end(
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {},
  body: Buffer = Buffer.alloc(0),
): void {
  const length = status === 204 ? {} : { "Content-Length": body.length };
  response.writeHead(status, { ...headers, ...length }).end(body);
}

export function fail(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  end(
    response,
    status,
    headers,
    Buffer.from(`<Error><Code>${code}</Code><Message>${code} it is</Message></Error>`),
  );
}

/** A server for the tests of a file or a describe block. */
export function withServer(options: ServerOptions = {}): ObjectServer {
  const server = new ObjectServer(options);
  beforeAll(() => server.start());
  afterAll(() => server.stop());
  return server;
}
