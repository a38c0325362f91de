/**
 * Signed requests through @aws-sdk/client-s3 (Node only): it finds credentials, region and endpoint, signs, and keeps
 * connections alive. It is loaded with the first request. Its own retries are off: what may be repeated is
 * decided in one place, and a compare-and-swap never is.
 */
import type * as Sdk from "@aws-sdk/client-s3";
import { DreamDBError } from "../../errors.ts";
import { wireFault } from "./fetch-wire.ts";
import type { Location } from "./location.ts";
import type { RemoteLimits } from "./options.ts";
import type { ListedPage, Wire, WireAnswer, WireRequest } from "./wire.ts";

/** The release that the tests run with, the last one for Node 20. */
const TRIED_VERSION = "3.1169.0";

/** A body as the SDK hands it over in Node: a stream of buffers. */
interface Body extends AsyncIterable<Uint8Array> {
  destroy(): void;
}

interface Connection {
  sdk: typeof Sdk;
  client: Sdk.S3Client;
}

export class S3Wire implements Wire {
  readonly isSigned = true;
  readonly #location: Location;
  readonly #bucket: string;
  readonly #region: string | undefined;
  readonly #limits: RemoteLimits;
  #connection: Promise<Connection> | undefined;

  constructor(location: Location, bucket: string, region: string | undefined, limits: RemoteLimits) {
    this.#location = location;
    this.#bucket = bucket;
    this.#region = region;
    this.#limits = limits;
  }

  async send(request: WireRequest, signal: AbortSignal): Promise<WireAnswer> {
    const { sdk, client } = await this.#connect();
    const target = { Bucket: this.#bucket, Key: request.key };
    const options = { abortSignal: signal };
    try {
      if (request.method === "GET") {
        const command = new sdk.GetObjectCommand({ ...target, ...given({ Range: request.range }) });
        const output = await client.send(command, options);
        return gotten(output);
      }
      if (request.method === "DELETE") {
        const output = await client.send(new sdk.DeleteObjectCommand(target), options);
        return empty(output.$metadata.httpStatusCode ?? 204);
      }
      const command = new sdk.PutObjectCommand({
        ...target,
        Body: request.body ?? new Uint8Array(0),
        ContentType: "application/octet-stream",
        ...given({
          CacheControl: request.cacheControl,
          IfMatch: request.ifMatch,
          IfNoneMatch: request.ifNoneMatch,
        }),
      });
      const output = await client.send(command, options);
      return { ...empty(output.$metadata.httpStatusCode ?? 200), etag: output.ETag };
    } catch (error) {
      return answerIn(error);
    }
  }

  async list(
    prefix: string,
    next: string | undefined,
    maxKeys: number | undefined,
    signal: AbortSignal,
  ): Promise<ListedPage | WireAnswer> {
    const { sdk, client } = await this.#connect();
    const command = new sdk.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: prefix,
      ...given({ ContinuationToken: next, MaxKeys: maxKeys }),
    });
    try {
      const {
        Contents = [],
        IsTruncated,
        NextContinuationToken,
      } = await client.send(command, {
        abortSignal: signal,
      });
      const keys = Contents.map(({ Key, Size }) => ({ key: Key ?? "", bytes: Size ?? 0 }));
      return { keys, next: IsTruncated ? NextContinuationToken : undefined };
    } catch (error) {
      return answerIn(error);
    }
  }

  close(): void {
    this.#connection?.then(({ client }) => client.destroy()).catch(() => {});
    this.#connection = undefined;
  }

  #connect(): Promise<Connection> {
    this.#connection ??= this.#open().catch((error: unknown) => {
      this.#connection = undefined;
      throw error;
    });
    return this.#connection;
  }

  async #open(): Promise<Connection> {
    const sdk = await loadSdk();
    const { region = this.#location.host?.region } = { region: this.#region };
    const first = new sdk.S3Client(this.#config(region));
    if (await hasRegion(first)) return { sdk, client: first };
    // Servers other than Amazon's take any region, as long as one is signed.
    first.destroy();
    return { sdk, client: new sdk.S3Client(this.#config("us-east-1")) };
  }

  #config(region: string | undefined): Sdk.S3ClientConfig {
    const { origin, host } = this.#location;
    const ownEndpoint = host === undefined ? origin : undefined;
    const agent = { keepAlive: true, maxSockets: this.#limits.concurrency };
    return {
      ...given({ region, endpoint: ownEndpoint }),
      // Names of servers in one's own network have no subdomains for buckets.
      forcePathStyle: ownEndpoint !== undefined || namesEndpoint(process.env),
      maxAttempts: 1,
      // Ceph and others answer 411 or 501 to the SDK's checksums in trailers; ranges are verified by BLAKE3 here.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      // Asking first costs a round trip for every body over 2 MiB.
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: this.#limits.timeoutMs,
        httpAgent: agent,
        httpsAgent: agent,
      },
    };
  }
}

function namesEndpoint(env: NodeJS.ProcessEnv): boolean {
  return (env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL ?? "") !== "";
}

async function hasRegion(client: Sdk.S3Client): Promise<boolean> {
  try {
    return (await client.config.region()) !== "";
  } catch {
    return false;
  }
}

async function loadSdk(): Promise<typeof Sdk> {
  try {
    return await import("@aws-sdk/client-s3");
  } catch (cause) {
    throw new DreamDBError(
      "UnsupportedBackend",
      `signed requests need the AWS SDK: npm install @aws-sdk/client-s3@${TRIED_VERSION}`,
      {
        field: "backend",
        found: "no @aws-sdk/client-s3",
        expected: "it beside dreamdb",
        committed: "no",
        cause,
      },
    );
  }
}

function gotten(output: Sdk.GetObjectCommandOutput): WireAnswer {
  const body = output.Body as unknown as Body | undefined;
  return {
    status: output.$metadata.httpStatusCode ?? 200,
    etag: output.ETag,
    lengthBytes: output.ContentEncoding === undefined ? output.ContentLength : undefined,
    contentRange: output.ContentRange,
    chunks: body === undefined ? nothing() : chunksOf(body),
    cancel: () => body?.destroy(),
  };
}

async function* chunksOf(body: Body): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw fault(error);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function empty(status: number): WireAnswer {
  return { status, chunks: nothing(), cancel: () => {} };
}

interface ServiceError {
  name?: string;
  message?: string;
  code?: string;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
}

/** The SDK throws answers that are errors; what is no answer is thrown on. */
function answerIn(error: unknown): WireAnswer {
  const { name, message, $metadata, $response } = error as ServiceError;
  const status = $metadata?.httpStatusCode;
  // A 200 that could not be read is a connection that broke.
  if (status === undefined || status < 300) throw fault(error);
  const headers = $response?.headers ?? {};
  const elsewhere = headers["x-amz-bucket-region"];
  return {
    ...empty(status),
    etag: headers.etag,
    retryAfter: headers["retry-after"],
    code: name === "UnknownError" || name === "Error" || /^\d+$/.test(name ?? "") ? undefined : name,
    reason: status < 400 && elsewhere !== undefined ? `the bucket lies in ${elsewhere}` : message,
  };
}

function fault(error: unknown): DreamDBError {
  const { name, message = "", code } = error as ServiceError;
  if (name === "CredentialsProviderError" || name === "TokenProviderError") {
    return new DreamDBError("StoreUnavailable", `no AWS credentials: ${message}`, {
      field: "credentials",
      expected: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile",
      committed: "no",
      cause: error,
    });
  }
  return wireFault(code, [code, message].filter(Boolean).join(" "), error);
}

/** Without the properties that are undefined. */
function given<T extends Record<string, unknown>>(
  properties: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(properties).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
