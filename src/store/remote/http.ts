import { DreamDBError } from "../../errors.ts";
import type { Store } from "../store.ts";
import { FetchWire } from "./fetch-wire.ts";
import { type Location, parseLocation } from "./location.ts";
import { isPlain, type RemoteOptions } from "./options.ts";
import { RemoteStore } from "./remote-store.ts";

/**
 * A bucket or a prefix of one, by unsigned requests: `http(s)://host/bucket[/prefix]`, in Node and browsers alike.
 * Reading needs a server that knows ranges; writing one that lets anybody write, and keeps conditional puts.
 * Errors: `InvalidArgument` for other addresses and limits that can't be, `UnsupportedBackend` for `s3://`.
 */
export function httpStore(address: string, options: RemoteOptions = {}): Store {
  const location = parseLocation(address);
  if (location.origin === undefined || options.sign === true) throw notSigned(address, location);
  const sharedUrl = isPlain(options) ? location.url : undefined;
  return new RemoteStore(location, new FetchWire(location, options.fetch), options, sharedUrl);
}

function notSigned(address: string, location: Location): DreamDBError {
  return new DreamDBError("UnsupportedBackend", "signed requests need Node and @aws-sdk/client-s3", {
    field: "backend",
    found: address,
    expected: location.origin === undefined ? "http(s)://host/bucket[/prefix]" : "sign: false",
  });
}
