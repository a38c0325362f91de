/** One exchange with an object store, below retries and below what an answer means. */

export interface WireRequest {
  method: "GET" | "PUT" | "DELETE";
  /** The key in the bucket, the store's prefix included. */
  key: string;
  /** Value of the header of this name; as it is sent. */
  range?: string;
  ifMatch?: string;
  ifNoneMatch?: string;
  cacheControl?: string;
  /** No cache on the way may answer; with `reload` it may keep what comes, in place of what it has. */
  cache?: "no-store" | "reload";
  body?: Uint8Array;
}

export interface WireAnswer {
  status: number;
  /** As it was sent, quotes and all. */
  etag?: string | undefined;
  /** Content-Length, when the body travels as it is. */
  lengthBytes?: number | undefined;
  contentRange?: string | undefined;
  retryAfter?: string | undefined;
  /** S3's name for an error, such as NoSuchBucket. */
  code?: string | undefined;
  /** What the server says about an error, cut to a line. */
  reason?: string | undefined;
  /** The body of a 2xx; bodies of other answers have been read by then. */
  chunks: AsyncIterable<Uint8Array>;
  /** Ends the transfer. */
  cancel(): void;
}

export interface ListedPage {
  keys: { key: string; bytes: number }[];
  /** Asks for the page after this one. */
  next?: string | undefined;
}

/**
 * Sends one request, once. It throws `StoreUnavailable` when no answer came (committed "no" when the request was
 * certainly not sent, `retryable` when it may pass); whatever the signal's abort makes it throw is not looked at.
 */
export interface Wire {
  isSigned: boolean;
  send(request: WireRequest, signal: AbortSignal): Promise<WireAnswer>;
  /** A page of keys, or the answer that was no list. */
  list(
    prefix: string,
    next: string | undefined,
    maxKeys: number | undefined,
    signal: AbortSignal,
  ): Promise<ListedPage | WireAnswer>;
  close(): void;
}

export function isPage(listed: ListedPage | WireAnswer): listed is ListedPage {
  return "keys" in listed;
}
