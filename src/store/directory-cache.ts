/**
 * What was read of objects, kept in a directory (Node only) that any number of processes may share. Every file begins with the
 * BLAKE3 of what follows, so that torn or damaged ones count as absent.
 */
import { mkdir, readdir, readFile, rename, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { blake3, equalBytes } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import { type Keeper, kept } from "./kept.ts";
import type { Store } from "./store.ts";

const DIGEST_BYTES = 32;
/** A directory that is over its budget is brought down to this share of it. */
const LEFT_AFTER_EVICTION = 0.8;
const NAME = /^[a-z0-9_-]+(\.[0-9]+-[0-9]+)?$/;

export interface DirectoryCacheOptions {
  /** Made when it is first needed. Nothing else should be kept in it. */
  directory: string;
  /** Budget in bytes, roughly: each process counts what it adds, and looks at what is there when that passes the budget. Default 1 GiB. */
  bytes?: number;
}

/**
 * `store`, with objects and ranges of them kept in a directory. A cache that can't be read or written is done without.
 * Errors: `InvalidArgument`.
 */
export function cachedInDirectory(store: Store, options: DirectoryCacheOptions): Store {
  const { directory, bytes = 1 << 30 } = options;
  if (typeof directory !== "string" || directory === "") throw invalid("directory", directory, "a path");
  if (!(Number.isSafeInteger(bytes) && bytes >= 0)) throw invalid("bytes", bytes, "an integer from 0");
  return kept(store, new DirectoryCache(directory, bytes));
}

class DirectoryCache implements Keeper {
  readonly #directory: string;
  readonly #budget: number;
  /** What lies there, as far as this process knows; undefined until it has looked. */
  #held: number | undefined;
  #evicting: Promise<void> | undefined;

  constructor(directory: string, budget: number) {
    this.#directory = directory;
    this.#budget = budget;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    const path = `${this.#directory}/${name}`;
    const file = await readFile(path).catch(() => undefined);
    if (file === undefined) return undefined;
    const bytes = new Uint8Array(
      file.buffer,
      file.byteOffset + DIGEST_BYTES,
      Math.max(0, file.length - DIGEST_BYTES),
    );
    if (file.length < DIGEST_BYTES || !equalBytes(blake3(bytes), file.subarray(0, DIGEST_BYTES))) {
      await unlink(path).catch(() => {});
      return undefined;
    }
    const now = new Date();
    utimes(path, now, now).catch(() => {});
    return bytes;
  }

  /** Whole or not at all; not synced, since a torn file shows. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const size = bytes.length + DIGEST_BYTES;
    if (size > this.#budget) return;
    const temporary = `${this.#directory}/${crypto.randomUUID()}.tmp`;
    try {
      await mkdir(this.#directory, { recursive: true });
      this.#held ??= (await this.#files()).reduce((sum, file) => sum + file.bytes, 0);
      const file = new Uint8Array(size);
      file.set(blake3(bytes));
      file.set(bytes, DIGEST_BYTES);
      await writeFile(temporary, file, { flag: "wx" });
      await rename(temporary, `${this.#directory}/${name}`);
      this.#held += size;
      if (this.#held > this.#budget) await this.#evict();
    } catch {
      await unlink(temporary).catch(() => {});
    }
  }

  /** One at a time: removes what was longest unused. */
  #evict(): Promise<void> {
    this.#evicting ??= this.#removeOldest().finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }

  async #removeOldest(): Promise<void> {
    const files = (await this.#files()).sort((a, b) => a.usedMs - b.usedMs);
    let held = files.reduce((sum, { bytes }) => sum + bytes, 0);
    if (held > this.#budget) {
      for (const { name, bytes } of files) {
        if (held <= LEFT_AFTER_EVICTION * this.#budget) break;
        await unlink(`${this.#directory}/${name}`).catch(() => {});
        held -= bytes;
      }
    }
    this.#held = held;
  }

  async #files(): Promise<{ name: string; bytes: number; usedMs: number }[]> {
    const names = (await readdir(this.#directory)).filter((name) => NAME.test(name));
    const found = await Promise.all(
      names.map(async (name) => {
        const info = await stat(`${this.#directory}/${name}`).catch(() => undefined);
        return info === undefined ? [] : [{ name, bytes: info.size, usedMs: info.mtimeMs }];
      }),
    );
    return found.flat();
  }
}

function invalid(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "not a cache", { field, found, expected });
}
