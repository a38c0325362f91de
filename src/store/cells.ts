/**
 * Compare-and-swap cells of the directory store. A cell is a directory of generations:
 *
 *   main@/0000000000000007   a value: a hard link to a file that was synced before
 *   main@/0000000000000008   a deletion: an empty directory, so that numbers never start again
 *
 * The highest number is the current value. A swap links the next number; link fails when the name is taken,
 * so of any number of writers one wins, and there is no lock that a killed process could leave behind.
 * Source: spec/0005-backend-interface.md.
 */
import { DreamDBError } from "../errors.ts";
import type { DirectoryIo, IoEntry, IoStat } from "./directory-io.ts";
import type { DurableDirectories } from "./durable-directories.ts";
import { commitUnknown, errnoOf, ioFault } from "./io-fault.ts";
import { conflict } from "./key.ts";
import { readFile } from "./read-file.ts";
import type { PutCondition, StoredValue } from "./store.ts";
import type { TemporaryFiles } from "./temporary-files.ts";

/** Generations that stay, so that a slow reader finds its file and a slow writer its name taken. */
export const KEPT_GENERATIONS = 16;

/** Each attempt is lost only to a write that succeeded. */
const MAX_ATTEMPTS = 1000;

const GENERATION_NAME = /^[0-9a-f]{16}$/;

/** What a file system without hard links answers to link. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

interface Generation {
  number: number;
  /** A marker that the cell was deleted, not a value. */
  deleted: boolean;
}

interface Cell {
  key: string;
  path: string;
}

export interface CellParts {
  io: DirectoryIo;
  directories: DurableDirectories;
  temporaries: TemporaryFiles;
  /** A short hash, the same in every process. */
  digest: (bytes: Uint8Array) => string;
}

export class Cells {
  readonly #io: DirectoryIo;
  readonly #directories: DurableDirectories;
  readonly #temporaries: TemporaryFiles;
  readonly #digest: (bytes: Uint8Array) => string;

  constructor({ io, directories, temporaries, digest }: CellParts) {
    this.#io = io;
    this.#directories = directories;
    this.#temporaries = temporaries;
    this.#digest = digest;
  }

  /** The current value; undefined when the cell never had one or was deleted. */
  async read(cell: Cell): Promise<StoredValue | undefined> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const tip = await this.#tip(cell);
      if (tip === undefined || tip.deleted) return undefined;
      const bytes = await this.#readGeneration(cell, tip.number);
      if (bytes !== undefined) return { bytes, etag: this.#etag(tip.number, bytes) };
    }
    throw outpaced(cell);
  }

  /** Bytes of the current value, for listings. */
  async size(cell: Cell): Promise<number | undefined> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const tip = await this.#tip(cell);
      if (tip === undefined || tip.deleted) return undefined;
      const size = await this.#sizeOf(cell, tip.number);
      if (size !== undefined) return size;
    }
    throw outpaced(cell);
  }

  async write(cell: Cell, bytes: Uint8Array, condition: PutCondition | undefined): Promise<{ etag: string }> {
    // Before anything is written, so that a race already lost costs no disk writes.
    let tip = await this.#tip(cell);
    if (condition !== undefined) await this.#require(cell, tip, condition);
    await this.#directories.ensure(cell.path);
    const temporary = await this.#temporaries.write(bytes);
    try {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const number = (tip?.number ?? 0) + 1;
        if (await this.#claim(cell, number, temporary)) {
          await this.#settle(cell, number, (path) => this.#io.unlink(path));
          return { etag: this.#etag(number, bytes) };
        }
        if (condition !== undefined) throw conflict(cell.key, condition, "a newer value");
        tip = await this.#tip(cell);
      }
    } finally {
      await this.#temporaries.discard(temporary);
    }
    throw outpaced(cell);
  }

  /** Adds a deletion marker, unless there is nothing to delete. */
  async remove(cell: Cell): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const tip = await this.#tip(cell);
      if (tip === undefined || tip.deleted) return;
      if (await this.#mark(cell, tip.number + 1)) {
        return this.#settle(cell, tip.number + 1, (path) => this.#io.rmdir(path));
      }
    }
    throw outpaced(cell);
  }

  async #tip(cell: Cell): Promise<Generation | undefined> {
    return (await this.#generations(cell)).at(-1);
  }

  /** Ascending; empty when the cell has no directory. */
  async #generations(cell: Cell): Promise<Generation[]> {
    const entries = await this.#entries(cell);
    return entries
      .filter((entry) => GENERATION_NAME.test(entry.name))
      .map((entry) => ({ number: Number.parseInt(entry.name, 16), deleted: entry.isDirectory() }))
      .sort((a, b) => a.number - b.number);
  }

  /**
   * ENOENT alone does not say that the cell is absent: where the disk keeps no types in its directories, Node
   * looks at every entry after listing, and fails like this when one of them was pruned meanwhile.
   */
  async #entries(cell: Cell): Promise<IoEntry[]> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      try {
        return await this.#io.readdir(cell.path);
      } catch (error) {
        if (errnoOf(error) !== "ENOENT") {
          throw ioFault(error, `listing the generations of ${cell.key} in ${cell.path}`);
        }
        if ((await this.#statOrAbsent(cell, cell.path)) === undefined) return [];
      }
    }
    throw outpaced(cell);
  }

  /** Undefined when the file was pruned between listing and opening. */
  async #readGeneration(cell: Cell, number: number): Promise<Uint8Array | undefined> {
    const path = generationPath(cell, number);
    return readFile(this.#io, path).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioFault(error, `reading ${cell.key} from ${path}`);
    });
  }

  async #sizeOf(cell: Cell, number: number): Promise<number | undefined> {
    return (await this.#statOrAbsent(cell, generationPath(cell, number)))?.size;
  }

  async #statOrAbsent(cell: Cell, path: string): Promise<IoStat | undefined> {
    return this.#io.stat(path).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioFault(error, `looking at ${cell.key} in ${path}`);
    });
  }

  /** Errors: `Conflict` when the condition does not hold for what the tip says. */
  async #require(cell: Cell, tip: Generation | undefined, condition: PutCondition): Promise<void> {
    const found = tip === undefined || tip.deleted ? undefined : await this.#tagOf(cell, tip.number);
    const holds = "create" in condition ? found === undefined : found === condition.ifMatch;
    if (!holds) throw conflict(cell.key, condition, found);
  }

  async #tagOf(cell: Cell, number: number): Promise<string> {
    const bytes = await this.#readGeneration(cell, number);
    return bytes === undefined ? "a newer value" : this.#etag(number, bytes);
  }

  /**
   * The number alone is unique within a cell's life; the digest tells apart the cells of two stores that
   * were made, one after the other, at the same path.
   */
  #etag(number: number, bytes: Uint8Array): string {
    return `${number.toString(16)}-${this.#digest(bytes)}`;
  }

  /** Links the temporary file as this generation: true when it is ours, false when the number is taken. */
  async #claim(cell: Cell, number: number, temporary: string): Promise<boolean> {
    const target = generationPath(cell, number);
    try {
      await this.#io.link(temporary, target);
      return true;
    } catch (error) {
      // NFS may apply a link and lose the reply; the temporary file's second name tells.
      const links = await this.#io.stat(temporary).then(
        (stat) => stat.nlink,
        () => undefined,
      );
      if (links !== undefined && links > 1) return true;
      return refusedLink(cell, target, error, links);
    }
  }

  /** Like `#claim`, with a deletion marker. */
  async #mark(cell: Cell, number: number): Promise<boolean> {
    const target = generationPath(cell, number);
    try {
      await this.#io.mkdir(target);
      return true;
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return false;
      throw ioFault(error, `deleting ${cell.key} by ${target}`, { committed: "no" });
    }
  }

  /**
   * What follows a claimed number: make sure that it still counted when it was claimed, make it durable, and
   * drop generations that nobody needs.
   */
  async #settle(cell: Cell, number: number, withdraw: (path: string) => Promise<void>): Promise<void> {
    const generations = await this.#generations(cell).catch((error: unknown) => {
      throw commitUnknown(cell.key, "the cell can't be listed after the swap", error);
    });
    const highest = generations.at(-1)?.number ?? 0;
    // A writer that slept between reading the tip and linking may have taken a number that was pruned. Pruning
    // stays KEPT_GENERATIONS below the highest, so a number above that was free only because it was new.
    if (highest >= number + KEPT_GENERATIONS) {
      await withdraw(generationPath(cell, number)).catch(() => {});
      throw commitUnknown(cell.key, `generation ${number} was overtaken by generation ${highest}`);
    }
    if (highest < number) throw commitUnknown(cell.key, `generation ${number} vanished after the swap`);
    await this.#directories.sync(cell.path).catch((error: unknown) => {
      throw commitUnknown(cell.key, "the new value is visible but could not be made durable", error);
    });
    await this.#prune(cell, generations, highest);
  }

  /** What can't be removed now, the next writer removes. */
  async #prune(cell: Cell, generations: Generation[], highest: number): Promise<void> {
    for (const { number, deleted } of generations) {
      if (number > highest - KEPT_GENERATIONS) return;
      const path = generationPath(cell, number);
      await (deleted ? this.#io.rmdir(path) : this.#io.unlink(path)).catch(() => {});
    }
  }
}

function generationPath(cell: Cell, number: number): string {
  return `${cell.path}/${number.toString(16).padStart(16, "0")}`;
}

function refusedLink(cell: Cell, target: string, error: unknown, links: number | undefined): false {
  const errno = errnoOf(error);
  if (errno === "EEXIST") return false;
  if (errno !== undefined && NO_LINKS.has(errno)) throw noHardLinks(cell, target, errno, error);
  if (links === undefined) throw commitUnknown(cell.key, `linking ${target} failed`, error);
  throw ioFault(error, `linking ${cell.key} as ${target}`, { committed: "no" });
}

function noHardLinks(cell: Cell, target: string, errno: string, cause: unknown): DreamDBError {
  return new DreamDBError("UnsupportedBackend", `the file system refuses the hard link ${target}`, {
    field: cell.key,
    found: errno,
    expected: "a file system with hard links, which compare-and-swap needs",
    committed: "no",
    errno,
    cause,
  });
}

function outpaced(cell: Cell): DreamDBError {
  return new DreamDBError("StoreUnavailable", `other writers were faster ${MAX_ATTEMPTS} times in a row`, {
    field: cell.key,
    retryable: true,
    committed: "no",
  });
}
