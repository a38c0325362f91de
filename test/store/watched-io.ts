import { dirname } from "node:path";
import { nodeIo } from "../../src/store/directory.ts";
import type { DirectoryIo, IoFile } from "../../src/store/directory-io.ts";

/** One call of a file operation. `target` for rename and link; `bytes` for a write. */
export interface IoStep {
  name: string;
  path: string;
  target?: string;
  bytes?: Uint8Array;
}

/** Real file operations, each of which goes through `around`, which may wait, fail, or not call it at all. */
export function watchedIo(
  around: (step: IoStep, run: () => Promise<unknown>) => Promise<unknown>,
): DirectoryIo {
  const watch = <T>(step: IoStep, run: () => Promise<T>) => around(step, run) as Promise<T>;
  const watchFile = (path: string, file: IoFile): IoFile => ({
    read: (...args) => watch({ name: "read", path }, () => file.read(...args)),
    writeFile: (bytes) => watch({ name: "write", path, bytes }, () => file.writeFile(bytes)),
    sync: () => watch({ name: "sync", path }, () => file.sync()),
    stat: () => watch({ name: "fstat", path }, () => file.stat()),
    // Closed for real whatever happens, so that no test leaks a file.
    close: () => file.close().then(() => watch({ name: "close", path }, async () => {})),
  });
  return {
    open: (path, flags) =>
      watch({ name: flags === "r" ? "open" : "create", path }, async () =>
        watchFile(path, await nodeIo.open(path, flags)),
      ),
    mkdir: (path) => watch({ name: "mkdir", path }, () => nodeIo.mkdir(path)),
    readdir: (path) => watch({ name: "readdir", path }, () => nodeIo.readdir(path)),
    stat: (path) => watch({ name: "stat", path }, () => nodeIo.stat(path)),
    rename: (path, target) => watch({ name: "rename", path, target }, () => nodeIo.rename(path, target)),
    link: (path, target) => watch({ name: "link", path, target }, () => nodeIo.link(path, target)),
    unlink: (path) => watch({ name: "unlink", path }, () => nodeIo.unlink(path)),
    rmdir: (path) => watch({ name: "rmdir", path }, () => nodeIo.rmdir(path)),
  };
}

interface Inode {
  isDirectory: boolean;
  /** What the last sync of the file itself covered. */
  durable: Uint8Array;
  current: Uint8Array;
}

/**
 * What a disk may hold after a power loss, told from the steps that were done before it. A file's bytes are
 * sure once the file was synced; a name, once its directory was synced after the name was made.
 */
export class DiskModel {
  readonly #names = new Map<string, Inode>();
  readonly #durableNames = new Map<string, Inode>();

  apply({ name, path, target, bytes }: IoStep): void {
    const none = new Uint8Array(0);
    if (name === "mkdir") this.#names.set(path, { isDirectory: true, durable: none, current: none });
    if (name === "create") this.#names.set(path, { isDirectory: false, durable: none, current: none });
    const inode = this.#names.get(path);
    if (name === "write") inode!.current = new Uint8Array(bytes!);
    if (name === "link" || name === "rename") this.#names.set(target!, inode!);
    if (name === "unlink" || name === "rmdir" || name === "rename") this.#names.delete(path);
    if (name === "sync") this.#sync(path, inode);
  }

  /** Only what is sure: no name that was not synced, no byte that was not. */
  least(): Map<string, Uint8Array | undefined> {
    return this.#reachable(this.#durableNames);
  }

  /** Every name reached the disk by itself, but no byte that was not synced: the torn files of a lazy disk. */
  torn(): Map<string, Uint8Array | undefined> {
    return this.#reachable(this.#names);
  }

  #sync(path: string, inode: Inode | undefined): void {
    if (inode !== undefined && !inode.isDirectory) inode.durable = inode.current;
    else this.#syncNames(path);
  }

  #syncNames(directory: string): void {
    for (const name of this.#durableNames.keys()) {
      if (dirname(name) === directory) this.#durableNames.delete(name);
    }
    for (const [name, inode] of this.#names) {
      if (dirname(name) === directory) this.#durableNames.set(name, inode);
    }
  }

  /** Path to bytes, undefined for a directory; parents before children. */
  #reachable(names: Map<string, Inode>): Map<string, Uint8Array | undefined> {
    const shortestFirst = [...names].sort(([a], [b]) => a.length - b.length);
    const known = new Set([...this.#names.keys(), ...names.keys()]);
    const kept = new Map<string, Uint8Array | undefined>();
    for (const [path, inode] of shortestFirst) {
      const parent = dirname(path);
      const reachable = kept.has(parent) || !known.has(parent);
      if (reachable) kept.set(path, inode.isDirectory ? undefined : inode.durable);
    }
    return kept;
  }
}
