import { DreamDBError } from "../../errors.ts";

/** A bucket, or a part of one, as an address names it. */
export interface Location {
  /** The address as messages show it. */
  url: string;
  /** `https://host:port`; undefined for `s3://`, where the SDK decides. */
  origin: string | undefined;
  /** Undefined when the host is the bucket. */
  bucket: string | undefined;
  /** Path below the bucket, ending with `/` unless empty. */
  prefix: string;
  /** What the host's own name says, as in `photos.s3.eu-central-1.amazonaws.com`. */
  host?: { bucket: string; region: string | undefined };
}

const SEGMENT = /^[A-Za-z0-9._-]+$/;

const AMAZON_HOST = /^(.+)\.s3[.-](?:([a-z0-9-]+)\.)?amazonaws\.com$/;

/**
 * `http(s)://host/bucket[/prefix]`, `http(s)://host` where the host is the bucket, `s3://bucket[/prefix]`.
 * Errors: `InvalidArgument`; addresses stand in messages and logs, so one with a password or query is refused.
 */
export function parseLocation(address: string): Location {
  const url = parsed(address);
  if (url === undefined) throw refused(address, "http(s)://host/bucket[/prefix] or s3://bucket[/prefix]");
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw refused(`${url.protocol}//${url.host}…`, "no user, password, query or fragment");
  const segments = url.pathname.split("/").filter((segment) => segment !== "");
  for (const segment of segments)
    if (!SEGMENT.test(segment) || segment === "." || segment === "..")
      throw refused(address, "bucket and prefix of segments [A-Za-z0-9._-]");
  const path = segments.join("/");
  if (url.protocol === "s3:") {
    if (!SEGMENT.test(url.host)) throw refused(address, "s3://bucket[/prefix]");
    return {
      url: tidy(`s3://${url.host}`, path),
      origin: undefined,
      bucket: url.host,
      prefix: below(segments),
    };
  }
  const amazon = AMAZON_HOST.exec(url.hostname);
  const shown = tidy(url.origin, path);
  if (amazon !== null) {
    const host = { bucket: amazon[1]!, region: amazon[2] };
    return { url: shown, origin: url.origin, bucket: undefined, prefix: below(segments), host };
  }
  const [bucket, ...rest] = segments;
  return { url: shown, origin: url.origin, bucket, prefix: below(rest) };
}

function parsed(address: string): URL | undefined {
  try {
    const url = new URL(address);
    return ["http:", "https:", "s3:"].includes(url.protocol) ? url : undefined;
  } catch {
    return undefined;
  }
}

function tidy(start: string, path: string): string {
  return path === "" ? start : `${start}/${path}`;
}

function below(segments: readonly string[]): string {
  return segments.length === 0 ? "" : `${segments.join("/")}/`;
}

function refused(found: string, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "not the address of a bucket", {
    field: "backend",
    found,
    expected,
  });
}
