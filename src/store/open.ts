import { DreamDBError } from "../errors.ts";
import { memoryStore } from "./memory.ts";
import type { Store } from "./store.ts";

/** What every verb takes as its backend: an address, a store, or an options object that holds one. */
export type Backend = string | Store | { backend: string | Store };

/** Makes the store for an address of the scheme it was registered for; `file` also gets plain paths. */
export type BackendFactory = (address: string) => Store;

const factories = new Map<string, BackendFactory>([["memory", openMemory]]);

const PLANNED = new Set(["http", "https", "s3"]);

/** One letter is a Windows drive, not a scheme. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]+):(\/\/)?/;

/** Adds a scheme, or replaces it; `scheme` in lower case without the colon. */
export function registerBackend(scheme: string, factory: BackendFactory): void {
  factories.set(scheme, factory);
}

/**
 * The store that `backend` names: `memory://name` anywhere; a path or `file:///path` in Node; a Store is
 * handed back as it is. Errors: `UnsupportedBackend` for any other scheme, `InvalidArgument` for other values.
 */
export function openStore(backend: Backend): Store {
  if (typeof backend === "string") return openAddress(backend);
  if (isStore(backend)) return backend;
  const inner = (backend as { backend?: unknown } | null | undefined)?.backend;
  if (typeof inner === "string") return openAddress(inner);
  if (isStore(inner)) return inner;
  throw new DreamDBError("InvalidArgument", "not a backend", {
    field: "backend",
    found: inner ?? backend,
    expected: "an address, a Store, or { backend }",
  });
}

function openAddress(address: string): Store {
  if (address === "" || address.includes("\0")) throw notAnAddress(address, "a path or scheme://…");
  const scheme = schemeOf(address);
  const factory = factories.get(scheme ?? "file");
  if (factory !== undefined) return factory(address);
  throw unsupported(address, scheme);
}

/** Undefined for a plain path. `data:1` is a path as well, unless `data` is a scheme that we know. */
function schemeOf(address: string): string | undefined {
  const match = SCHEME.exec(address);
  if (match === null) return undefined;
  const scheme = match[1]!.toLowerCase();
  if (match[2] !== undefined) return scheme;
  return factories.has(scheme) || PLANNED.has(scheme) || scheme === "file" ? scheme : undefined;
}

function openMemory(address: string): Store {
  const name = /^memory:\/\/(.+)$/is.exec(address)?.[1];
  if (name === undefined) throw notAnAddress(address, "memory://name");
  return memoryStore(name);
}

function isStore(value: unknown): value is Store {
  if (typeof value !== "object" || value === null) return false;
  return ["get", "put", "delete", "list"].every((name) => typeof (value as never)[name] === "function");
}

function notAnAddress(address: string, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "not a backend address", {
    field: "backend",
    found: address,
    expected,
  });
}

function unsupported(address: string, scheme: string | undefined): DreamDBError {
  const known = [...factories.keys()].map((name) =>
    name === "file" ? "a path, file:///path" : `${name}://name`,
  );
  return new DreamDBError("UnsupportedBackend", whyUnsupported(scheme), {
    field: "backend",
    found: address,
    expected: known.join(", "),
  });
}

function whyUnsupported(scheme: string | undefined): string {
  if (scheme === undefined || scheme === "file") return "directories as backends need Node";
  if (PLANNED.has(scheme)) return `${scheme}:// backends are not yet in this version`;
  return `unknown kind of backend ${scheme}://`;
}
