import type { DirectoryIo } from "./directory-io.ts";
import type { DurableDirectories } from "./durable-directories.ts";
import { ioFault } from "./io-fault.ts";

/**
 * Whole, synced files under a name nobody reads, ready to be renamed or linked into place. All that a killed
 * process leaves behind is one of these; nothing ever reads them, and they may be removed while no writer runs.
 */
export class TemporaryFiles {
  readonly #io: DirectoryIo;
  readonly #directories: DurableDirectories;
  readonly #directory: string;

  constructor(io: DirectoryIo, directories: DurableDirectories, directory: string) {
    this.#io = io;
    this.#directories = directories;
    this.#directory = directory;
  }

  /** The path of a new file that holds `bytes`, durable under whatever name it gets next. */
  async write(bytes: Uint8Array): Promise<string> {
    await this.#directories.ensure(this.#directory);
    const path = `${this.#directory}/${randomName()}`;
    try {
      await this.#writeSynced(path, bytes);
      return path;
    } catch (error) {
      await this.discard(path);
      throw ioFault(error, `writing the temporary file ${path}`, { committed: "no" });
    }
  }

  /** A file that can't be removed stays: it harms nobody. */
  async discard(path: string): Promise<void> {
    await this.#io.unlink(path).catch(() => {});
  }

  async #writeSynced(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#io.open(path, "wx");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

function randomName(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
