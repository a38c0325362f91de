/** A dataset that was opened, the state of it that is shown, and the other states there are. */
import {
  DreamDBSpace,
  type HistoryEntry,
  isDreamDBError,
  type RefEntry,
  type SpaceProgress,
} from "@dreamlake/dreamdb/space";
import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";

const HISTORY = 200;
/** How often a page in view asks whether the ref moved. */
const LOOK_EVERY_MS = 15_000;
const QUIET_STEP_MS = 40;
const QUIET_AT_MOST_MS = 4000;
/** A worker that ends again so soon does so for a reason that stays: whoever looks is told, and asked. */
const REOPENED_AGAIN_AFTER_MS = 60_000;
/** Read before by this browser: immutable, and checked by its hash when it is read again. */
const PERSIST = { bytes: 200e6, name: "dreamdb-browse" };

/** States that others published since. */
export interface Arrival {
  manifest: string;
  commits: number;
  /** Records more than in the newest state known before; fewer are below 0. */
  rows: number;
}

export class Travels {
  readonly url: string;
  /** Moves with the ref; only asked for what belongs to no state. */
  readonly base: DreamDBSpace;
  /** The state that is shown stays where it is until someone asks for another. */
  readonly shown: Signal<DreamDBSpace>;
  /** Newest first. */
  readonly history: Signal<readonly HistoryEntry[]> = signal([]);
  /** Undefined until known; an error where the bucket's keys can't be listed. */
  readonly refs: Signal<readonly RefEntry[] | undefined> = signal(undefined);
  readonly refsFailure: Signal<unknown> = signal(undefined);
  readonly arrival: Signal<Arrival | undefined> = signal(undefined);
  readonly progress: Signal<SpaceProgress> = signal({ pending: 0, requests: 0, bytes: 0 });
  /** Why the last look for new states failed. */
  readonly lookFailure: Signal<unknown> = signal(undefined);
  /** The newest state that the visitor knows of. */
  readonly newest: Signal<string>;
  readonly isPast: ReadonlySignal<boolean>;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isLooking = false;
  #isClosed = false;
  /** Whether the state that is shown went with its worker. */
  #isLost = false;
  #reopenedAt = Number.NEGATIVE_INFINITY;
  #reopening: Promise<void> | undefined;

  private constructor(url: string, base: DreamDBSpace, shown: DreamDBSpace) {
    this.url = url;
    this.base = base;
    this.shown = signal(shown);
    this.newest = signal(base.manifest);
    this.isPast = computed(() => this.shown.value.manifest !== this.newest.value);
    base.addEventListener("progress", ({ detail }) => {
      this.progress.value = detail;
    });
    void this.#readHistory();
    void this.#readRefs();
    if (base.isBranch) {
      this.#timer = setInterval(
        () => document.visibilityState === "visible" && void this.look(),
        LOOK_EVERY_MS,
      );
      document.addEventListener("visibilitychange", this.#onVisible);
    }
  }

  /** Opens a ref or Manifest, at its newest state or the one at `at`. Errors: those of the library. */
  static async open(
    url: string,
    at: string | undefined,
    signal: AbortSignal,
    onProgress: (progress: SpaceProgress) => void,
  ): Promise<Travels> {
    const base = await DreamDBSpace.fromUri(url, {
      worker: true,
      persist: PERSIST,
      signal,
      onProgress,
      remote: { attempts: 3, timeoutMs: 15_000 },
    });
    try {
      return new Travels(url, base, await base.at(at ?? base.manifest, { signal }));
    } catch (error) {
      await base.close();
      throw error;
    }
  }

  /** Shows another state. Errors: `NotFound`, `LineageMismatch`, those of reading. */
  async travel(manifest: string, signal?: AbortSignal): Promise<void> {
    const before = this.shown.peek();
    if (before.manifest === manifest && !this.#isLost) return;
    const next = await this.base.at(manifest, signal === undefined ? {} : { signal });
    if (signal?.aborted || this.#isClosed) return void next.close();
    this.#show(next);
  }

  /**
   * Whether a failure to read from `space` needs no words: nobody looks at that any more, or its worker had ended, as a browser
   * that is short of memory does it, and the same state has been opened anew by another.
   */
  async outlives(space: DreamDBSpace, error: unknown): Promise<boolean> {
    if (!isDreamDBError(error, "Aborted")) return false;
    if (this.#isClosed || space !== this.shown.peek()) return true;
    this.#isLost = true;
    if (this.#reopening === undefined && performance.now() < this.#reopenedAt + REOPENED_AGAIN_AFTER_MS)
      return false;
    return this.reopen().then(
      () => true,
      () => false,
    );
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** Opens the state that is shown anew, in another worker. Errors: those of the library. */
  reopen(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined;
    });
    return this.#reopening;
  }

  async #reopen(): Promise<void> {
    this.#reopenedAt = performance.now();
    const lost = this.shown.peek();
    const next = await this.base.at(lost.manifest);
    if (this.#isClosed || this.shown.peek() !== lost) return void next.close();
    this.#show(next);
  }

  #show(next: DreamDBSpace): void {
    const before = this.shown.peek();
    this.#isLost = false;
    this.shown.value = next;
    // Whoever still reads from it is told by its own signal first.
    setTimeout(() => void before.close().catch(() => undefined), 0);
  }

  /** Shows what arrived. */
  async moveOn(): Promise<void> {
    await this.#readHistory();
    await this.travel(this.base.manifest);
    batch(() => {
      this.newest.value = this.base.manifest;
      this.arrival.value = undefined;
    });
  }

  /** Asks whether the ref has moved, and tells so by `arrival`. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.base.refresh();
      this.lookFailure.value = undefined;
      const { manifest } = this.base;
      if (manifest === this.newest.peek() || manifest === this.arrival.peek()?.manifest) return;
      const history = await this.base.history(HISTORY);
      const known = history.findIndex((entry) => entry.manifest === this.newest.peek());
      const [latest, before] = [history[0], history[known]];
      this.arrival.value = {
        manifest,
        commits: known < 0 ? history.length : known,
        rows: (latest?.rows ?? 0) - (before?.rows ?? 0),
      };
    } catch (error) {
      if (!isDreamDBError(error, "Aborted")) this.lookFailure.value = error;
    } finally {
      this.#isLooking = false;
    }
  }

  /** Waits until no request has been under way for a moment, some seconds at most. */
  async quiet(signal: AbortSignal): Promise<void> {
    const until = performance.now() + QUIET_AT_MOST_MS;
    let calm = 0;
    while (!signal.aborted && calm < 2 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_STEP_MS));
      calm = this.progress.peek().pending === 0 ? calm + 1 : 0;
    }
  }

  /** The state that is shown, and its place in the history, -1 where it is beyond what was read. */
  readonly index: ReadonlySignal<number> = computed(() =>
    this.history.value.findIndex(({ manifest }) => manifest === this.shown.value.manifest),
  );

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    document.removeEventListener("visibilitychange", this.#onVisible);
    await this.shown.peek().close();
    await this.base.close();
  }

  readonly #onVisible = (): void => {
    if (document.visibilityState === "visible") void this.look();
  };

  async #readHistory(): Promise<void> {
    try {
      this.history.value = await this.base.history(HISTORY);
    } catch {
      // The state that is shown is readable all the same; the timeline says that it has nothing.
      this.history.value = [];
    }
  }

  async #readRefs(): Promise<void> {
    try {
      this.refs.value = await this.base.refs();
    } catch (error) {
      this.refsFailure.value = error;
    }
  }
}
