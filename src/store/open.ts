import { DreamDBError } from "../errors.ts";
import { memoryStore } from "./memory.ts";
import { readOnly } from "./read-only.ts";
import { httpStore } from "./remote/http.ts";
import type { RemoteOptions, StoreOptions } from "./remote/options.ts";
import type { Store } from "./store.ts";

/** What every verb takes as its backend: an address, a store, or an options object that holds one. */
export type Backend = string | Store | { backend: string | Store };

/** Makes the store for an address of the scheme it was registered for; `file` also gets plain paths. */
export type BackendFactory = (address: string, options: RemoteOptions) => Store;

const factories = new Map<string, BackendFactory>([
  ["memory", openMemory],
  ["http", httpStore],
  ["https", httpStore],
]);

/** Schemes that are known, but not everywhere. */
const NODE_ONLY = new Set(["s3"]);

/** One letter is a Windows drive, not a scheme. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]+):(\/\/)?/;

/** Adds a scheme, or replaces it; `scheme` in lower case without the colon. */
export function registerBackend(scheme: string, factory: BackendFactory): void {
  factories.set(scheme, factory);
}

/**
 * The store that `backend` names: `memory://name`, `http(s)://host/bucket[/prefix]` anywhere; a path, `file:///path` or
 * `s3://bucket[/prefix]` in Node; a Store is handed back as it is. Beside `readOnly`, options are for addresses reached by HTTP.
 * Errors: `UnsupportedBackend` for any other scheme, `InvalidArgument` for other values.
 */
export function openStore(backend: Backend, options: StoreOptions = {}): Store {
  const store = storeOf(backend, options);
  return options.readOnly === true ? readOnly(store) : store;
}

function storeOf(backend: Backend, options: RemoteOptions): Store {
  if (typeof backend === "string") return openAddress(backend, options);
  if (isStore(backend)) return backend;
  const inner = (backend as { backend?: unknown } | null | undefined)?.backend;
  if (typeof inner === "string") return openAddress(inner, options);
  if (isStore(inner)) return inner;
  throw new DreamDBError("InvalidArgument", "not a backend", {
    field: "backend",
    found: inner ?? backend,
    expected: "an address, a Store, or { backend }",
  });
}

function openAddress(address: string, options: RemoteOptions): Store {
  if (address === "" || address.includes("\0")) throw notAnAddress(address, "a path or scheme://…");
  const scheme = schemeOf(address);
  const factory = factories.get(scheme ?? "file");
  if (factory !== undefined) return factory(address, options);
  throw unsupported(address, scheme);
}

/** Undefined for a plain path. `data:1` is a path as well, unless `data` is a scheme that we know. */
function schemeOf(address: string): string | undefined {
  const match = SCHEME.exec(address);
  if (match === null) return undefined;
  const scheme = match[1]!.toLowerCase();
  if (match[2] !== undefined) return scheme;
  return factories.has(scheme) || NODE_ONLY.has(scheme) || scheme === "file" ? scheme : undefined;
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

const FORMS: Record<string, string> = {
  file: "a path, file:///path",
  http: "http://host/bucket",
  https: "https://host/bucket",
  memory: "memory://name",
  s3: "s3://bucket",
};

function unsupported(address: string, scheme: string | undefined): DreamDBError {
  const known = [...factories.keys()].map((name) => FORMS[name] ?? `${name}://…`);
  return new DreamDBError("UnsupportedBackend", whyUnsupported(scheme), {
    field: "backend",
    found: address,
    expected: known.join(", "),
  });
}

function whyUnsupported(scheme: string | undefined): string {
  if (scheme === undefined || scheme === "file") return "directories as backends need Node";
  if (NODE_ONLY.has(scheme)) return `${scheme}:// backends need Node, which can sign requests`;
  return `unknown kind of backend ${scheme}://`;
}
