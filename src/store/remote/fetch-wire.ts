/**
 * Unsigned requests through the platform's fetch. Browsers speak HTTP/2 or 3 where the server offers it; Node's fetch
 * keeps HTTP/1.1 connections alive, one for each request under way, and takes HTTP/2 from a dispatcher that the
 * application installs (docs/storage.md).
 */
import { DreamDBError } from "../../errors.ts";
import { parseError, parseListing } from "./listing.ts";
import type { Location } from "./location.ts";
import type { ListedPage, Wire, WireAnswer, WireRequest } from "./wire.ts";

type Fetch = typeof fetch;

/** Errors and lists are read whole; a page of 1,000 long keys stays below this. */
const MAX_TEXT_BYTES = 16 << 20;
const MAX_ERROR_BYTES = 64 << 10;

/**
 * A connection that never came about, so that nothing was sent; and a redirect, an answer that fetch keeps to itself.
 * Looked for in code and message, since wrappers of errors drop their code.
 */
const NEVER_SENT =
  /connect (ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT|unexpected redirect/;

/** What no repetition changes. */
const LASTING = /certificate|unexpected redirect|invalid url|wrong version number|scheme/i;

export class FetchWire implements Wire {
  readonly isSigned = false;
  readonly #fetch: Fetch;
  readonly #location: Location;
  readonly #root: string;

  constructor(location: Location, given: Fetch | undefined) {
    // Looked up at each call: an application may replace it, and its mere mention makes Node load all of it.
    this.#fetch = given ?? ((input, init) => fetch(input, init));
    this.#location = location;
    this.#root =
      location.bucket === undefined ? `${location.origin}/` : `${location.origin}/${location.bucket}/`;
  }

  async send(request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
    const { method, key, body, range } = request;
    // Chromium lets one request at a time at what it keeps of a URL, so that ranges of an object would wait for one another.
    const cache = request.cache ?? (range === undefined ? undefined : "no-store");
    const init: RequestInit = {
      method,
      headers: headersOf(request),
      redirect: "error",
      signal,
      ...(cache === undefined ? {} : { cache }),
      ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
    };
    return this.#exchange(`${this.#root}${key}`, init);
  }

  async list(
    prefix: string,
    next: string | undefined,
    maxKeys: number | undefined,
    signal: AbortSignal,
  ): Promise<ListedPage | WireAnswer> {
    const query = new URLSearchParams({ "list-type": "2", prefix });
    if (next !== undefined) query.set("continuation-token", next);
    if (maxKeys !== undefined) query.set("max-keys", String(maxKeys));
    const { origin, bucket } = this.#location;
    const answer = await this.#exchange(`${origin}/${bucket ?? ""}?${query}`, {
      redirect: "error",
      signal,
      cache: "no-store",
    });
    if (answer.status !== 200) return answer;
    return parseListing(await text(answer.chunks, MAX_TEXT_BYTES)) ?? answer;
  }

  close(): void {}

  async #exchange(url: string, init: RequestInit): Promise<WireAnswer> {
    const response = await this.#fetch(url, init).catch((error: unknown) => {
      throw isUntold(error, init.signal) ? untold(url, error) : unreachable(error);
    });
    const answer = answerOf(response);
    if (response.status < 300) return answer;
    const said = await text(answer.chunks, MAX_ERROR_BYTES).catch(() => "");
    const error = parseError(said);
    return { ...answer, code: error?.code, reason: error?.reason };
  }
}

function headersOf(request: WireRequest): Record<string, string> {
  // A body that some proxy compresses has another length and a weak tag. Browsers choose for themselves.
  const headers: Record<string, string> = request.method === "GET" ? { "Accept-Encoding": "identity" } : {};
  if (request.range !== undefined) headers.Range = request.range;
  if (request.ifMatch !== undefined) headers["If-Match"] = request.ifMatch;
  if (request.ifNoneMatch !== undefined) headers["If-None-Match"] = request.ifNoneMatch;
  if (request.cacheControl !== undefined) headers["Cache-Control"] = request.cacheControl;
  if (request.body !== undefined) headers["Content-Type"] = "application/octet-stream";
  return headers;
}

function answerOf(response: Response): WireAnswer {
  const header = (name: string): string | undefined => response.headers.get(name) ?? undefined;
  const length = header("content-encoding") === undefined ? header("content-length") : undefined;
  const reader = response.body?.getReader();
  return {
    status: response.status,
    etag: header("etag"),
    lengthBytes: length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined,
    contentRange: header("content-range"),
    retryAfter: header("retry-after"),
    chunks: chunksOf(reader),
    cancel: () => void reader?.cancel().catch(() => {}),
  };
}

async function* chunksOf(reader: ReadableStreamDefaultReader<Uint8Array> | undefined) {
  if (reader === undefined) return;
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw unreachable(error, "the connection broke off in the middle of an answer");
    });
    if (done) return;
    yield value;
  }
}

async function text(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let said = "";
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new DreamDBError("LimitExceeded", "the server's answer is too long", {
        field: "body",
        found: bytes,
        expected: `at most ${maxBytes} bytes`,
      });
    }
    said += decoder.decode(chunk, { stream: true });
  }
  return said + decoder.decode();
}

/** Browsers keep from scripts why a request failed: it is one TypeError for all of it, without a cause. */
function isUntold(error: unknown, signal: AbortSignal | null | undefined): boolean {
  return (
    error instanceof TypeError &&
    error.cause === undefined &&
    "location" in globalThis &&
    signal?.aborted !== true
  );
}

function untold(url: string, cause: unknown): DreamDBError {
  const { origin } = globalThis.location;
  const isMixed = origin.startsWith("https:") && url.startsWith("http:");
  const causes = [
    "it can't be reached",
    "it redirects",
    "it does not allow this page's origin (CORS)",
    "this page's Content-Security-Policy does not allow the address (connect-src)",
    ...(isMixed ? ["a page of https: may not ask an address of http: (mixed content)"] : []),
  ];
  const any = `${causes.slice(0, -1).join(", ")}, or ${causes.at(-1)}`;
  return new DreamDBError(
    "StoreUnavailable",
    `no answer from the server: ${any}; browsers don't tell which. See docs/browser.md, "What a page can't be told"`,
    {
      field: "url",
      found: url,
      expected: `an answer with Access-Control-Allow-Origin: ${origin === "null" ? "*" : origin} or *`,
      retryable: true,
      cause,
    },
  );
}

function unreachable(error: unknown, what = "no answer from the server"): DreamDBError {
  const causes = [error, (error as { cause?: unknown } | undefined)?.cause] as {
    code?: unknown;
    message?: unknown;
  }[];
  const code = causes.map((each) => each?.code).find((each) => typeof each === "string");
  const why = causes.map((each) => each?.message).filter((each) => typeof each === "string" && each !== "");
  return wireFault(code as string | undefined, why.join(": "), error, what);
}

/** The error for a request without an answer, or without the end of it. */
export function wireFault(
  code: string | undefined,
  why: string,
  cause: unknown,
  what = "no answer from the server",
): DreamDBError {
  const isUnsent = NEVER_SENT.test(`${code} ${why}`);
  return new DreamDBError("StoreUnavailable", `${what}: ${why || code || "unknown reason"}`, {
    retryable: !LASTING.test(why),
    ...(isUnsent ? { committed: "no" as const } : {}),
    cause,
  });
}
