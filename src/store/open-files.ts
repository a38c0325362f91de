/** Files that are being read: reads of one file at one time share an open one, which is closed after the last of them. */
import type { DirectoryIo, IoFile } from "./directory-io.ts";
import { readFile, readOpenFile } from "./read-file.ts";
import type { ByteRange } from "./store.ts";

interface SharedFile {
  file: Promise<IoFile>;
  readers: number;
}

export class OpenFiles {
  readonly #io: DirectoryIo;
  readonly #shared = new Map<string, SharedFile>();

  constructor(io: DirectoryIo) {
    this.#io = io;
  }

  /** As `readFile`, for files whose content never changes; into `into` where there is room. Throws the system's errors. */
  async read(path: string, range?: ByteRange, into?: Uint8Array): Promise<Uint8Array> {
    const known = this.#shared.get(path);
    const shared = known ?? this.#open(path);
    shared.readers++;
    try {
      // What another reader could not open, since it began earlier, may be there by now.
      const file = await (known === undefined ? shared.file : shared.file.catch(() => undefined));
      return await (file === undefined ? readFile(this.#io, path, range) : readOpenFile(file, range, into));
    } finally {
      if (--shared.readers === 0) await this.#close(path, shared);
    }
  }

  /** To be called when a file was removed or replaced: reads that begin from now on open what is there. */
  forget(path: string): void {
    this.#shared.delete(path);
  }

  #open(path: string): SharedFile {
    const shared = { file: this.#io.open(path, "r"), readers: 0 };
    this.#shared.set(path, shared);
    return shared;
  }

  async #close(path: string, shared: SharedFile): Promise<void> {
    if (this.#shared.get(path) === shared) this.#shared.delete(path);
    const file = await shared.file.catch(() => undefined);
    await file?.close();
  }
}
