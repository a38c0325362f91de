/**
 * A store in a bucket of an object store, or in what an HTTP server shows: what keys, conditions and answers mean
 * (spec/0005-backend-interface.md §7), whoever carries them.
 */
import { blake3, toHex } from "../../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../../errors.ts";
import { aborted, checkSignal, unlessAborted } from "../aborted.ts";
import { checkCondition, checkKey, checkPrefix, checkRange, conflict, isObjectKey } from "../key.ts";
import type {
  ByteRange,
  GetOptions,
  ListedKey,
  PutCondition,
  RequestOptions,
  Store,
  StoredValue,
} from "../store.ts";
import { Turns } from "../turns.ts";
import { readBody } from "./body.ts";
import { bareEtag, type EtagStyle, isEtag, styledEtag } from "./etag.ts";
import { type Attempt, Exchanges } from "./exchange.ts";
import type { Location } from "./location.ts";
import { limitsOf, type RemoteOptions } from "./options.ts";
import { isDenied, isNoBucket, isUndone, outcomeUnknown, refusalOf } from "./outcome.ts";
import { isPage, type ListedPage, type Wire, type WireAnswer, type WireRequest } from "./wire.ts";
import { PROBE_BODY, PROBE_KEY, probe } from "./write-probe.ts";

/** What S3 takes, the prefix included. */
const MAX_REMOTE_KEY_BYTES = 1024;

const FOREVER = "public, max-age=31536000, immutable";

export class RemoteStore implements Store {
  readonly url: string;
  readonly sharedUrl?: string;
  readonly isRemote = true;
  readonly #wire: Wire;
  readonly #prefix: string;
  readonly #options: RemoteOptions;
  readonly #exchanges: Exchanges;
  readonly #turns = new Turns();
  #probed: Promise<EtagStyle> | undefined;
  #mayList: Promise<boolean> | undefined;
  #hasWarned = false;

  /** @param sharedUrl see `Store.sharedUrl` */
  constructor(location: Location, wire: Wire, options: RemoteOptions, sharedUrl: string | undefined) {
    this.url = location.url;
    if (sharedUrl !== undefined) this.sharedUrl = sharedUrl;
    this.#wire = wire;
    this.#prefix = location.prefix;
    this.#options = options;
    this.#exchanges = new Exchanges(limitsOf(options), options.random ?? Math.random);
  }

  async get(key: string, range?: ByteRange, options: GetOptions = {}): Promise<StoredValue | undefined> {
    this.#checkKey(key);
    if (range !== undefined) checkRange(range);
    if (range === undefined || isObjectKey(key)) return this.#get(key, range, options);
    // Cells are small, and a range beyond the end would come without the tag.
    const whole = await this.#get(key, undefined, options);
    if (whole === undefined) return undefined;
    return { bytes: whole.bytes.slice(range.offset, range.offset + range.length), etag: whole.etag };
  }

  async put(
    key: string,
    bytes: Uint8Array,
    condition?: PutCondition,
    options: RequestOptions = {},
  ): Promise<{ etag: string }> {
    this.#checkKey(key);
    checkCondition(key, condition);
    checkSignal(options.signal);
    this.#warnOnce();
    if (this.#options.singleWriter === true) {
      return this.#turns.run(key, () => this.#putAlone(key, bytes, condition, options.signal));
    }
    const style = await unlessAborted(this.#etagStyle(), options.signal).catch((error: unknown) => {
      throw isDreamDBError(error, "Aborted")
        ? aborted(options.signal as AbortSignal, { committed: "no" })
        : error;
    });
    return this.#put(key, bytes, condition, style, options.signal);
  }

  async delete(key: string, options: RequestOptions = {}): Promise<void> {
    this.#checkKey(key);
    const isRepeatable = isObjectKey(key);
    await this.#exchanges.run({ isRepeatable, signal: options.signal }, async (attempt) => {
      const answer = await this.#send({ method: "DELETE", key }, attempt);
      answer.cancel();
      if (isSuccess(answer) || (answer.status === 404 && !isNoBucket(answer))) return;
      throw refusalOf(answer, `removing ${key}`);
    });
  }

  async *list(prefix: string, options: RequestOptions = {}): AsyncIterable<ListedKey> {
    checkPrefix(prefix);
    let next: string | undefined;
    do {
      const from = next;
      const page = await this.#exchanges.run({ isRepeatable: true, signal: options.signal }, (attempt) =>
        this.#page(prefix, from, attempt),
      );
      for (const { key, bytes } of page.keys) {
        const own = key.slice(this.#prefix.length);
        if (key.startsWith(this.#prefix) && own !== PROBE_KEY && isKey(own)) yield { key: own, bytes };
      }
      next = page.next;
    } while (next !== undefined);
  }

  async close(): Promise<void> {
    this.#wire.close();
  }

  #get(
    key: string,
    range: ByteRange | undefined,
    { signal, again }: GetOptions,
  ): Promise<StoredValue | undefined> {
    return this.#exchanges.run({ isRepeatable: true, signal }, (attempt) =>
      this.#read(key, range, again === true, attempt),
    );
  }

  async #read(
    key: string,
    range: ByteRange | undefined,
    isAgain: boolean,
    attempt: Attempt,
  ): Promise<StoredValue | undefined> {
    const isObject = isObjectKey(key);
    const request: WireRequest = { method: "GET", key };
    // A browser keeps objects for as long as they are served as immutable, damaged ones too.
    if (!isObject) request.cache = "no-store";
    else if (isAgain) request.cache = "reload";
    const answer = await this.#send(
      range === undefined ? request : { ...request, range: rangeHeader(range) },
      attempt,
    );
    const { status } = answer;
    if (status === 200 || status === 206) {
      const bytes = await readBody(answer, range, attempt.onProgress);
      return { bytes, etag: tagOf(answer, bytes, isObject) };
    }
    answer.cancel();
    if (status === 416) return { bytes: new Uint8Array(0), etag: bareEtag(answer.etag) ?? "" };
    if (status === 404 && !isNoBucket(answer)) return undefined;
    if (isDenied(answer) && !(await this.#listIsAllowed())) return undefined;
    throw refusalOf(answer, `reading ${key}`);
  }

  /**
   * S3 hides from those who may not list a bucket what it lacks: 403 for a missing key. Who may list gets 404 for that,
   * so 403 then means what it says.
   */
  #listIsAllowed(): Promise<boolean> {
    this.#mayList ??= this.#exchanges
      .run({ isRepeatable: true, signal: undefined }, async ({ signal }) => {
        const listed = await this.#wire.list(this.#prefix, undefined, 1, signal);
        if (isPage(listed)) return true;
        listed.cancel();
        return false;
      })
      .catch((error: unknown) => {
        this.#mayList = undefined;
        throw error;
      });
    return this.#mayList;
  }

  async #put(
    key: string,
    bytes: Uint8Array,
    condition: PutCondition | undefined,
    style: EtagStyle,
    signal: AbortSignal | undefined,
  ): Promise<{ etag: string }> {
    const isObject = isObjectKey(key);
    if (condition !== undefined && "ifMatch" in condition && !isEtag(condition.ifMatch))
      throw conflict(key, condition, "another tag");
    const isRepeatable = isObject && condition === undefined;
    let isSent = false;
    try {
      return await this.#exchanges.run({ isRepeatable, bytes: bytes.length, signal }, async (attempt) => {
        isSent = true;
        const answer = await this.#send(putRequest(key, bytes, condition, style), attempt);
        answer.cancel();
        if (isSuccess(answer)) return { etag: tagOf(answer, bytes, isObject) };
        if (condition !== undefined && isConditionFailure(answer, condition))
          throw conflict(key, condition, "another value");
        throw refusalOf(answer, `writing ${key}`);
      });
    } catch (error) {
      if (isDreamDBError(error) && error.committed === "no") throw error;
      if (!isSent && signal?.aborted) throw aborted(signal, { committed: "no" });
      // Content-addressed bytes that nothing refers to yet: whether they arrived makes no difference.
      if (isRepeatable && isDreamDBError(error, "Aborted"))
        throw aborted(signal as AbortSignal, { committed: "no" });
      throw outcomeUnknown(key, error);
    }
  }

  /** A put of the only writer: the condition is checked by reading, the put has none. */
  async #putAlone(
    key: string,
    bytes: Uint8Array,
    condition: PutCondition | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ etag: string }> {
    if (condition !== undefined) {
      const found = (await this.#get(key, undefined, { signal }))?.etag;
      const holds = "create" in condition ? found === undefined : found === condition.ifMatch;
      if (!holds) throw conflict(key, condition, found);
    }
    return this.#put(key, bytes, undefined, "quoted", signal);
  }

  #etagStyle(): Promise<EtagStyle> {
    this.#probed ??= this.#probe().catch((error: unknown) => {
      // What may pass is tried again by the next put; a server without conditions stays one.
      if (!isDreamDBError(error, "UnsupportedBackend")) this.#probed = undefined;
      throw error;
    });
    return this.#probed;
  }

  #probe(): Promise<EtagStyle> {
    const exchange = { isRepeatable: true, signal: undefined };
    const random = this.#options.random ?? Math.random;
    const requests = {
      pause: () => new Promise<void>((resolve) => setTimeout(resolve, 50 * random())),
      get: () =>
        this.#exchanges.run(exchange, async (attempt) => {
          const answer = await this.#send({ method: "GET", key: PROBE_KEY, cache: "no-store" }, attempt);
          if (isSuccess(answer)) await readBody(answer, undefined, attempt.onProgress);
          else answer.cancel();
          if (isSuccess(answer)) return { etag: answer.etag };
          if (answer.status === 404 && !isNoBucket(answer)) return undefined;
          throw refusalOf(answer, `reading ${PROBE_KEY}`);
        }),
      put: (condition: { ifNoneMatch: "*" } | { ifMatch: string }) =>
        this.#exchanges.run(exchange, async (attempt) => {
          const request: WireRequest = { method: "PUT", key: PROBE_KEY, body: PROBE_BODY, ...condition };
          const answer = await this.#send(request, attempt);
          answer.cancel();
          if (isSuccess(answer) || isUndone(answer.status)) return answer;
          throw refusalOf(answer, "trying a conditional put");
        }),
    };
    return probe(requests, this.url).catch((error: unknown) => {
      throw isDreamDBError(error) ? unwritten(error) : error;
    });
  }

  async #page(prefix: string, next: string | undefined, attempt: Attempt): Promise<ListedPage> {
    const listed = await this.#wire.list(this.#prefix + prefix, next, undefined, attempt.signal);
    if (isPage(listed)) return listed;
    listed.cancel();
    if (listed.status === 200) {
      throw new DreamDBError("UnsupportedBackend", "this server can't list its keys as S3 does", {
        field: "backend",
        found: this.url,
        expected: "an answer to ListObjectsV2",
      });
    }
    throw refusalOf(listed, `listing ${prefix}`);
  }

  #send(request: WireRequest, attempt: Attempt): Promise<WireAnswer> {
    return this.#wire.send({ ...request, key: this.#prefix + request.key }, attempt.signal);
  }

  #checkKey(key: string): void {
    checkKey(key);
    const found = this.#prefix.length + key.length;
    if (found <= MAX_REMOTE_KEY_BYTES) return;
    throw new DreamDBError("InvalidName", "object stores don't take keys of this length", {
      field: "key",
      found,
      expected: `at most ${MAX_REMOTE_KEY_BYTES} bytes with the prefix of the backend`,
      committed: "no",
    });
  }

  #warnOnce(): void {
    if (this.#wire.isSigned || this.#hasWarned) return;
    this.#hasWarned = true;
    const warn = this.#options.onWarning ?? console.warn;
    warn(`dreamdb: writing to ${this.url} unsigned; whoever reaches it can write there too`);
  }
}

function isSuccess({ status }: WireAnswer): boolean {
  return status >= 200 && status < 300;
}

function isConditionFailure(answer: WireAnswer, condition: PutCondition): boolean {
  const { status } = answer;
  if (status === 412 || status === 409) return true;
  return "create" in condition ? status === 304 : status === 404 && !isNoBucket(answer);
}

function putRequest(
  key: string,
  body: Uint8Array,
  condition: PutCondition | undefined,
  style: EtagStyle,
): WireRequest {
  const cacheControl = isObjectKey(key) ? FOREVER : "no-store";
  const request: WireRequest = { method: "PUT", key, body, cacheControl };
  if (condition === undefined) return request;
  if ("create" in condition) return { ...request, ifNoneMatch: "*" };
  return { ...request, ifMatch: styledEtag(condition.ifMatch, style) };
}

/** One byte at least: a range can't say "none", and the answer still tells whether there is a value. */
function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${offset}-${Math.min(offset + Math.max(1, length) - 1, Number.MAX_SAFE_INTEGER)}`;
}

/** A server without tags gets one made from the bytes: it still tells states apart, as refs never repeat. */
function tagOf(answer: WireAnswer, bytes: Uint8Array, isObject: boolean): string {
  return bareEtag(answer.etag) ?? (isObject ? "" : toHex(blake3(bytes)).slice(0, 32));
}

function isKey(text: string): boolean {
  try {
    checkKey(text);
    return true;
  } catch {
    return false;
  }
}

/** The same error, with the word that nothing was written: the probe comes before any put. */
function unwritten(error: DreamDBError): DreamDBError {
  if (error.committed === "no") return error;
  const { code, message, retryable } = error;
  return new DreamDBError(code, message, { retryable, committed: "no", cause: error });
}
