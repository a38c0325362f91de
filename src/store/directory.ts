/**
 * A store in a directory of the local disk (Node only).
 *
 *   <root>/objects/<2>/<address>          immutable files, renamed into place
 *   <root>/refs+/main@/0000000000000001   compare-and-swap cells, see cells.ts and cell-name.ts
 *   <root>/tmp/<32 hex digits>            files being written, or left by a process that was killed
 *
 * Every put is durable when it resolves: the file is synced before it gets its name, the directory after.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { DreamDBError } from "../errors.ts";
import { cellPath, decodeName } from "./cell-name.ts";
import { Cells } from "./cells.ts";
import type { DirectoryIo, IoEntry } from "./directory-io.ts";
import { DurableDirectories } from "./durable-directories.ts";
import { Gate } from "./gate.ts";
import { errnoOf, ioFault } from "./io-fault.ts";
import {
  checkCondition,
  checkKey,
  checkPrefix,
  checkRange,
  conflict,
  isObjectKey,
  isWholeObjectKey,
} from "./key.ts";
import { OpenFiles } from "./open-files.ts";
import type { ByteRange, ListedKey, PutCondition, Store, StoredValue } from "./store.ts";
import { TemporaryFiles } from "./temporary-files.ts";
import { Turns } from "./turns.ts";

/** Enough to keep Node's four file threads busy, few enough for any limit on open files. */
const CONCURRENT_OPERATIONS = 64;

/** Objects never change under their key, so one tag serves all. */
const OBJECT_ETAG = "immutable";

const OBJECT_DIRECTORY = /^objects(\/[a-z0-9]{2})?$/;

/** Node's own file operations, in the form that tests can replace. */
export const nodeIo: DirectoryIo = {
  open: (path, flags) => fs.open(path, flags),
  mkdir: (path) => fs.mkdir(path),
  readdir: (path) => fs.readdir(path, { withFileTypes: true }),
  stat: (path) => fs.stat(path),
  rename: (source, target) => fs.rename(source, target),
  link: (source, target) => fs.link(source, target),
  unlink: (path) => fs.unlink(path),
  rmdir: (path) => fs.rmdir(path),
};

/**
 * The store in a directory, which the first put makes when it is missing. Several processes may use one
 * directory at a time; the file system needs hard links. Bytes handed to `put` must not change until its
 * promise resolves. `io` replaces the file operations in tests.
 *
 * Errors of the operations: `StoreUnavailable` with `errno` for a full, read-only or failing disk,
 * `UnsupportedBackend` for a file system without hard links, and those that `Store` names.
 */
export function directoryStore(path: string, io: DirectoryIo = nodeIo): Store {
  if (typeof path === "string" && path !== "" && !path.includes("\0"))
    return new DirectoryStore(resolve(path), io);
  throw new DreamDBError("InvalidArgument", "not the path of a directory", {
    field: "path",
    found: path,
    expected: "a non-empty path",
  });
}

class DirectoryStore implements Store {
  readonly url: string;
  readonly sharedUrl?: string;
  readonly #root: string;
  readonly #io: DirectoryIo;
  readonly #directories: DurableDirectories;
  readonly #temporaries: TemporaryFiles;
  readonly #cells: Cells;
  readonly #files: OpenFiles;
  readonly #gate = new Gate(CONCURRENT_OPERATIONS);
  readonly #turns = new Turns();

  constructor(root: string, io: DirectoryIo) {
    this.url = pathToFileURL(root).href;
    // Another thread would not have the file operations of a test.
    if (io === nodeIo) this.sharedUrl = this.url;
    this.#root = root;
    this.#io = io;
    const system = { canSync: process.platform !== "win32", parentOf: dirname };
    const directories = new DurableDirectories(io, root, system);
    const temporaries = new TemporaryFiles(io, directories, join(root, "tmp"));
    this.#files = new OpenFiles(io);
    this.#directories = directories;
    this.#temporaries = temporaries;
    this.#cells = new Cells({ io, directories, temporaries, digest });
  }

  async get(key: string, range?: ByteRange, into?: Uint8Array): Promise<StoredValue | undefined> {
    checkKey(key);
    if (range !== undefined) checkRange(range);
    return this.#gate.run(() =>
      isObjectKey(key) ? this.#getObject(key, range, into) : this.#getCell(key, range),
    );
  }

  async put(key: string, bytes: Uint8Array, condition?: PutCondition): Promise<{ etag: string }> {
    checkKey(key);
    checkCondition(key, condition);
    const write = () =>
      isObjectKey(key)
        ? this.#putObject(key, bytes, condition)
        : this.#cells.write(this.#cell(key), bytes, condition);
    return this.#change(key, () => write().catch((error: unknown) => this.#afterRemoval(error, write)));
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    await this.#change(key, () =>
      isObjectKey(key) ? this.#deleteObject(key) : this.#cells.remove(this.#cell(key)),
    );
  }

  async *list(prefix: string): AsyncIterable<ListedKey> {
    checkPrefix(prefix);
    yield* this.#listBelow(this.#root, "", prefix);
  }

  /**
   * Writers of one cell take turns: more than 16 at a time could overtake each other between link and listing,
   * and end in needless `CommitUnknown`. They wait outside the gate, so that nobody else waits for them.
   */
  #change<T>(key: string, operation: () => Promise<T>): Promise<T> {
    const enter = () => this.#gate.run(operation);
    return isObjectKey(key) ? enter() : this.#turns.run(key, enter);
  }

  async #getObject(
    key: string,
    range: ByteRange | undefined,
    into: Uint8Array | undefined,
  ): Promise<StoredValue | undefined> {
    const path = this.#objectPath(key);
    try {
      return { bytes: await this.#files.read(path, range, into), etag: OBJECT_ETAG };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioFault(error, `reading the object ${path}`);
    }
  }

  /** Cells are small, and the tag covers all bytes. */
  async #getCell(key: string, range: ByteRange | undefined): Promise<StoredValue | undefined> {
    const value = await this.#cells.read(this.#cell(key));
    if (value === undefined || range === undefined) return value;
    return { bytes: value.bytes.slice(range.offset, range.offset + range.length), etag: value.etag };
  }

  async #putObject(
    key: string,
    bytes: Uint8Array,
    condition: PutCondition | undefined,
  ): Promise<{ etag: string }> {
    const path = this.#objectPath(key);
    const shard = dirname(path);
    await this.#directories.ensure(shard);
    const size = await this.#objectSize(path);
    if (size !== undefined && condition !== undefined) throw conflict(key, condition, OBJECT_ETAG);
    if (size !== bytes.length) await this.#placeObject(key, path, bytes, condition);
    // Also when it was there: whoever put it there may have been killed before this sync.
    await this.#directories.sync(shard);
    return { etag: OBJECT_ETAG };
  }

  /** Replaces a file of another size: only something other than this store can have cut it short. */
  async #placeObject(
    key: string,
    path: string,
    bytes: Uint8Array,
    condition: PutCondition | undefined,
  ): Promise<void> {
    const temporary = await this.#temporaries.write(bytes);
    try {
      if (condition === undefined) {
        await this.#io.rename(temporary, path);
        this.#files.forget(path);
        return;
      }
      await this.#io.link(temporary, path);
      await this.#temporaries.discard(temporary);
    } catch (error) {
      await this.#temporaries.discard(temporary);
      if (condition !== undefined && errnoOf(error) === "EEXIST") throw conflict(key, condition, OBJECT_ETAG);
      throw ioFault(error, `moving the object ${path} into place`, { committed: "no" });
    }
  }

  async #objectSize(path: string): Promise<number | undefined> {
    const stat = await this.#io.stat(path).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioFault(error, `looking for the object ${path}`);
    });
    return stat?.size;
  }

  async #deleteObject(key: string): Promise<void> {
    const path = this.#objectPath(key);
    try {
      await this.#io.unlink(path);
      this.#files.forget(path);
      await this.#directories.sync(dirname(path));
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw ioFault(error, `deleting the object ${path}`);
    }
  }

  /** When someone removed the store's directories, those known to exist don't: make them again, once. */
  async #afterRemoval<T>(error: unknown, write: () => Promise<T>): Promise<T> {
    const { code, errno } = error as Partial<DreamDBError>;
    if (code !== "StoreUnavailable" || errno !== "ENOENT") throw error;
    this.#directories.forget();
    return write();
  }

  /** `keyBefore`: the part of the keys that `directory` stands for, empty or ending in `/`. */
  async *#listBelow(directory: string, keyBefore: string, prefix: string): AsyncIterable<ListedKey> {
    const found = (await this.#entries(directory))
      .flatMap((entry) => listed(entry, keyBefore))
      .filter(({ key }) => key.startsWith(prefix) || (key.endsWith("/") && prefix.startsWith(key)))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
    for (const { key, name } of found) {
      const path = join(directory, name);
      if (key.endsWith("/")) yield* this.#listBelow(path, key, prefix);
      else yield* this.#listOne(key, path);
    }
  }

  async *#listOne(key: string, path: string): AsyncIterable<ListedKey> {
    const bytes = await (isObjectKey(key) ? this.#objectSize(path) : this.#cells.size({ key, path }));
    if (bytes !== undefined) yield { key, bytes };
  }

  async #entries(directory: string): Promise<IoEntry[]> {
    try {
      return await this.#io.readdir(directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw ioFault(error, `listing the directory ${directory}`);
    }
  }

  #objectPath(key: string): string {
    return join(this.#root, key);
  }

  #cell(key: string): { key: string; path: string } {
    return { key, path: join(this.#root, cellPath(key)) };
  }
}

/** What an entry of the store's tree stands for: a key, a part of keys that ends in `/`, or nothing of ours. */
function listed(entry: IoEntry, keyBefore: string): { key: string; name: string }[] {
  const path = keyBefore + entry.name;
  const key = path === "objects" || isObjectKey(path) ? objectPart(entry, path) : cellPart(entry, keyBefore);
  return key === undefined ? [] : [{ key, name: entry.name }];
}

function objectPart(entry: IoEntry, path: string): string | undefined {
  if (entry.isDirectory()) return OBJECT_DIRECTORY.test(path) ? `${path}/` : undefined;
  return isWholeObjectKey(path) ? path : undefined;
}

function cellPart(entry: IoEntry, keyBefore: string): string | undefined {
  const decoded = entry.isDirectory() ? decodeName(entry.name) : undefined;
  if (decoded === undefined) return undefined;
  const key = keyBefore + decoded.segment + (decoded.final ? "" : "/");
  return isObjectKey(key) ? undefined : key;
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}
