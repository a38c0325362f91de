/** `dreamdb://<address>[#bytes:<first>-<last>]` (spec/0002-content-addressing.md §6). */
import { DreamDBError } from "../errors.ts";
import { type Address, isAddress } from "./address.ts";

export interface ObjectUri {
  address: Address;
  /** Offsets of the first and last byte, both included. */
  bytes?: { first: number; last: number };
}

const URI = /^dreamdb:\/\/([a-z2-7]+)(?:#bytes:(0|[1-9]\d*)-(0|[1-9]\d*))?$/;

export function parseUri(uri: string): ObjectUri {
  const match = URI.exec(uri);
  const address = match?.[1] ?? "";
  if (match === null || !isAddress(address)) throw invalid(uri);
  if (match[2] === undefined) return { address };
  const first = Number(match[2]);
  const last = Number(match[3]);
  if (!Number.isSafeInteger(last) || first > last) throw invalid(uri);
  return { address, bytes: { first, last } };
}

export function formatUri(uri: ObjectUri): string {
  const text = `dreamdb://${uri.address}${uri.bytes === undefined ? "" : `#bytes:${uri.bytes.first}-${uri.bytes.last}`}`;
  parseUri(text);
  return text;
}

function invalid(uri: string): DreamDBError {
  return new DreamDBError("InvalidUri", "not a DreamDB URI", {
    found: uri,
    expected: "dreamdb://<address>[#bytes:<first>-<last>]",
  });
}
