import { DreamDBError } from "../../errors.ts";
import type { Store } from "../store.ts";
import { httpStore } from "./http.ts";
import { parseLocation } from "./location.ts";
import { isPlain, limitsOf, type RemoteOptions } from "./options.ts";
import { RemoteStore } from "./remote-store.ts";
import { S3Wire } from "./s3-wire.ts";

/** By any of these the environment says that it has credentials. */
const CREDENTIALS = [
  "AWS_ACCESS_KEY_ID",
  "AWS_PROFILE",
  "AWS_WEB_IDENTITY_TOKEN_FILE",
  "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
  "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/**
 * A bucket or a prefix of one, by requests that the AWS SDK signs (Node only): `s3://bucket[/prefix]` where the SDK
 * finds the endpoint, or `http(s)://host/bucket[/prefix]`. Needs @aws-sdk/client-s3, which is loaded when first used.
 * Errors: `InvalidArgument` for other addresses and limits that can't be. Operations fail with `UnsupportedBackend` without the SDK,
 * `StoreUnavailable` without credentials.
 */
export function s3Store(address: string, options: RemoteOptions = {}): Store {
  const location = parseLocation(address);
  const bucket = location.bucket ?? location.host?.bucket;
  if (bucket === undefined) {
    throw new DreamDBError("InvalidArgument", "the address names no bucket", {
      field: "backend",
      found: location.url,
      expected: `${location.url}/bucket`,
    });
  }
  const wire = new S3Wire(location, bucket, options.region, limitsOf(options));
  return new RemoteStore(location, wire, options, isPlain(options) ? location.url : undefined);
}

/** What an address means in Node: signed for `s3://`, and for `http(s)://` when the environment has credentials. */
export function remoteStore(address: string, options: RemoteOptions = {}): Store {
  const isS3 = /^s3:/i.test(address);
  const sign = options.sign ?? (isS3 || CREDENTIALS.some((name) => (process.env[name] ?? "") !== ""));
  if (sign) return s3Store(address, options);
  return httpStore(address, options);
}
