import type { DirectoryIo } from "./directory-io.ts";
import { errnoOf, ioFault } from "./io-fault.ts";

/** What file systems answer that have nothing to sync in a directory (CIFS, some FUSE mounts). */
const NOTHING_TO_SYNC = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP"]);

interface Turn {
  running: Promise<void>;
  next?: Promise<void>;
}

/**
 * Directories below a root, made when first needed, whose entries survive a power loss: a name is durable
 * only once the directory that holds it has been synced.
 */
export class DurableDirectories {
  readonly #io: DirectoryIo;
  readonly #root: string;
  readonly #canSync: boolean;
  readonly #parentOf: (path: string) => string;
  readonly #known = new Map<string, Promise<void>>();
  readonly #turns = new Map<string, Turn>();

  /** `canSync`: false on Windows, where directories can't be opened. `parentOf`: the system's own rule. */
  constructor(io: DirectoryIo, root: string, system: { canSync: boolean; parentOf(path: string): string }) {
    this.#io = io;
    this.#root = root;
    this.#canSync = system.canSync;
    this.#parentOf = system.parentOf;
  }

  /** Makes the directory and those above it. What this object has made or seen once costs nothing. */
  ensure(directory: string): Promise<void> {
    const known = this.#known.get(directory);
    if (known !== undefined) return known;
    const made = directory === this.#root ? this.#ensureRoot() : this.#make(directory);
    this.#known.set(directory, made);
    made.catch(() => this.#known.delete(directory));
    return made;
  }

  /** For when a directory turns out to have been removed under our feet. */
  forget(): void {
    this.#known.clear();
  }

  /**
   * Makes the entries of a directory durable. Calls that arrive while a sync runs share the next one: the
   * running one may have begun before their change.
   */
  sync(directory: string): Promise<void> {
    if (!this.#canSync) return Promise.resolve();
    const turn = this.#turns.get(directory);
    if (turn === undefined) return this.#startTurn(directory);
    turn.next ??= turn.running.then(
      () => this.#startTurn(directory),
      () => this.#startTurn(directory),
    );
    return turn.next;
  }

  #startTurn(directory: string): Promise<void> {
    const turn: Turn = { running: this.#syncNow(directory) };
    this.#turns.set(directory, turn);
    const end = () => {
      if (turn.next === undefined) this.#turns.delete(directory);
    };
    turn.running.then(end, end);
    return turn.running;
  }

  async #syncNow(directory: string): Promise<void> {
    try {
      const handle = await this.#io.open(directory, "r");
      await handle.sync().finally(() => handle.close());
    } catch (error) {
      if (NOTHING_TO_SYNC.has(errnoOf(error) ?? "")) return;
      throw ioFault(error, `syncing the directory ${directory}`);
    }
  }

  async #make(directory: string): Promise<void> {
    const parent = this.#parentOf(directory);
    await this.ensure(parent);
    await this.#mkdir(directory);
    // Also when it existed: whoever made it may have been killed before this sync.
    await this.sync(parent);
  }

  async #ensureRoot(): Promise<void> {
    if (await this.#rootExists()) await this.sync(this.#parentOf(this.#root)).catch(() => {});
    else await this.#makeAncestor(this.#root);
  }

  async #rootExists(): Promise<boolean> {
    const doing = `opening the store's directory ${this.#root}`;
    const stat = await this.#io.stat(this.#root).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw ioFault(error, doing);
    });
    if (stat === undefined || stat.isDirectory()) return stat !== undefined;
    throw ioFault({ code: "ENOTDIR" }, doing);
  }

  /** Syncs only what it makes: directories above the root are not ours. */
  async #makeAncestor(directory: string): Promise<void> {
    const parent = this.#parentOf(directory);
    try {
      await this.#mkdir(directory);
    } catch (error) {
      if ((error as { errno?: string }).errno !== "ENOENT" || parent === directory) throw error;
      await this.#makeAncestor(parent);
      await this.#mkdir(directory);
    }
    await this.sync(parent);
  }

  async #mkdir(directory: string): Promise<void> {
    try {
      await this.#io.mkdir(directory);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST")
        throw ioFault(error, `making the directory ${directory}`, { committed: "no" });
    }
  }
}
