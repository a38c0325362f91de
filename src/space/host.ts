/** The side of a Space that has the dataset: on the page's thread, or in a worker. */
import { Dataset } from "../dataset/dataset.ts";
import type { Columns } from "../dataset/stream.ts";
import { DreamDBError } from "../errors.ts";
import { openStore } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import { watched } from "../store/watched.ts";
import type { SampleColumns } from "./samples.ts";
import type { OpenSpace, Reading, SpaceNews, SpaceState, SpaceVerb, SpaceVerbs } from "./verbs.ts";

const MAX_SAMPLE_BATCH = 256;

type Handlers = {
  [V in SpaceVerb]: (
    args: SpaceVerbs[V]["args"],
    signal: AbortSignal | undefined,
  ) => Promise<SpaceVerbs[V]["value"]>;
};

export class SpaceHost implements Handlers {
  readonly #tell: (news: SpaceNews) => void;
  readonly #datasets = new Map<number, Dataset>();
  readonly #readings = new Map<number, AsyncIterator<unknown>>();
  /** What the page knows to be shown. */
  readonly #shown = new Map<number, string>();
  #opened: Promise<unknown> | undefined;
  #store: Store | undefined;

  constructor(tell: (news: SpaceNews) => void) {
    this.#tell = tell;
  }

  /** Errors: those of the verb. */
  async run<V extends SpaceVerb>(
    verb: V,
    args: SpaceVerbs[V]["args"],
    signal?: AbortSignal,
  ): Promise<SpaceVerbs[V]["value"]> {
    if (verb === "open") {
      this.#opened ??= this.open(args as OpenSpace, signal);
      await this.#opened;
      return this.#state(0) as SpaceVerbs[V]["value"];
    }
    if (verb === "finish") return (await this.finish()) as SpaceVerbs[V]["value"];
    // Where opening failed, so does all that follows.
    await this.#opened;
    try {
      return await (this[verb] as Handlers[V])(args, signal);
    } finally {
      if ("in" in args) this.#tellIfMoved(args.in);
    }
  }

  async open({ place, options, remote, persist }: OpenSpace, signal?: AbortSignal): Promise<SpaceState> {
    const plain = openStore(place.backend, {
      ...remote,
      ...(options.readOnly === undefined ? {} : { readOnly: options.readOnly }),
      ...(options.singleWriter === undefined ? {} : { singleWriter: options.singleWriter }),
    });
    const kept =
      persist === undefined ? plain : (await import("../store/persisted.ts")).persisted(plain, persist);
    const store = watched(kept, {
      onStart: () => this.#tell({ news: "began" }),
      onEnd: (request) => this.#tell({ news: "ended", request }),
    });
    this.#store = store;
    const all = { ...options, signal };
    const dataset =
      "name" in place
        ? await Dataset.open(place.name, store, all)
        : await Dataset.openAt(place.manifest, store, all);
    this.#datasets.set(0, dataset);
    const state = this.#state(0);
    // For a page whose worker died, and that knows the state of then.
    this.#tell({ news: "moved", in: 0, state });
    return state;
  }

  async at(
    { in: number, manifest, as }: SpaceVerbs["at"]["args"],
    signal?: AbortSignal,
  ): Promise<SpaceState> {
    this.#datasets.set(as, await this.#of(number).at(manifest, { signal }));
    return this.#state(as);
  }

  async refresh({ in: number }: SpaceVerbs["refresh"]["args"], signal?: AbortSignal): Promise<SpaceState> {
    await this.#of(number).refresh({ signal });
    return this.#state(number);
  }

  async samples(
    { in: number, options: { limit, ...options } }: SpaceVerbs["samples"]["args"],
    signal?: AbortSignal,
  ): Promise<SampleColumns> {
    const dataset = this.#of(number);
    const kinds = dataset.tracks().filter(({ kind }) => kind !== "embedding");
    const fields = options.fields ?? kinds.map(({ name }) => name);
    // One more than is wanted tells whether there are more.
    const batchSize = Math.min(limit + 1, MAX_SAMPLE_BATCH);
    const columns = { _time_anchors: [] } as unknown as Columns;
    for (const name of fields) columns[name] = [];
    for await (const batch of dataset.iterStream({ ...options, fields, batchSize, signal })) {
      const taken = batch as unknown as Columns;
      for (const [name, values] of Object.entries(taken)) (columns[name] as unknown[]).push(...values);
      if (columns._time_anchors.length > limit) break;
    }
    const hasMore = columns._time_anchors.length > limit;
    for (const values of Object.values(columns)) values.splice(limit);
    return { columns: owned(columns), hasMore };
  }

  async get({ in: number, anchor, fields }: SpaceVerbs["get"]["args"], signal?: AbortSignal) {
    const options = { ...(fields === undefined ? {} : { fields }), signal };
    return owned((await this.#of(number).get(anchor, options)) as Record<string, unknown> | undefined);
  }

  count({ in: number }: SpaceVerbs["count"]["args"]) {
    return this.#of(number).count();
  }

  history({ in: number, limit }: SpaceVerbs["history"]["args"], signal?: AbortSignal) {
    return this.#of(number).history(limit, { signal });
  }

  refs({ in: number }: SpaceVerbs["refs"]["args"], signal?: AbortSignal) {
    return this.#of(number).listRefs({ signal });
  }

  async diff({ in: number, from }: SpaceVerbs["diff"]["args"], signal?: AbortSignal) {
    const { records: _, ...diff } = await this.#of(number).diff(from, { signal });
    return diff;
  }

  async query({ in: number, query }: SpaceVerbs["query"]["args"], signal?: AbortSignal) {
    const batches = await this.#of(number).iterVector({ ...query, signal });
    return owned(batches as unknown as Columns[]);
  }

  async queryMany({ in: number, query }: SpaceVerbs["queryMany"]["args"], signal?: AbortSignal) {
    const batches = await this.#of(number).queryMany({ ...query, signal });
    return owned(batches as unknown as Columns[]);
  }

  explain({ in: number, query }: SpaceVerbs["explain"]["args"], signal?: AbortSignal) {
    return this.#of(number).explain({ ...query, signal });
  }

  async prewarm({ in: number, fields, vectors }: SpaceVerbs["prewarm"]["args"], signal?: AbortSignal) {
    await this.#of(number).prewarm({ ...(fields === undefined ? {} : { fields }), vectors, signal });
    return undefined;
  }

  async append({ in: number, records, opId }: SpaceVerbs["append"]["args"], signal?: AbortSignal) {
    const options = { ...(opId === undefined ? {} : { opId }), signal };
    const result = await this.#of(number).appendMany(records as never, options);
    return { result, state: this.#state(number) };
  }

  snapshot({ in: number, label }: SpaceVerbs["snapshot"]["args"], signal?: AbortSignal) {
    return this.#of(number).snapshot(label, { signal });
  }

  async begin({ in: number, reading, of }: SpaceVerbs["begin"]["args"], signal?: AbortSignal) {
    this.#readings.set(reading, await this.#begin(number, of, signal));
    return undefined;
  }

  async next({ reading }: SpaceVerbs["next"]["args"]) {
    const iterator = this.#readings.get(reading);
    // Not the end of what is read: the worker that had begun it is no more.
    if (iterator === undefined) {
      throw new DreamDBError("Aborted", "the worker that read this has ended; begin anew", {
        field: "space",
        committed: "no",
      });
    }
    try {
      const step = await iterator.next();
      if (step.done !== true) return owned(step.value);
    } catch (error) {
      this.#readings.delete(reading);
      throw error;
    }
    this.#readings.delete(reading);
    return undefined;
  }

  async end({ reading }: SpaceVerbs["end"]["args"]) {
    const iterator = this.#readings.get(reading);
    this.#readings.delete(reading);
    await iterator?.return?.();
    return undefined;
  }

  async close({ in: number }: SpaceVerbs["close"]["args"]) {
    const dataset = this.#datasets.get(number);
    this.#datasets.delete(number);
    await dataset?.close();
    return undefined;
  }

  /** Frees all that it holds. */
  async finish(): Promise<undefined> {
    const datasets = [...this.#datasets.values()];
    this.#datasets.clear();
    await Promise.all(datasets.map((dataset) => dataset.close()));
    await this.#store?.close?.();
    return undefined;
  }

  async #begin(
    number: number,
    of: Reading,
    signal: AbortSignal | undefined,
  ): Promise<AsyncIterator<unknown>> {
    const dataset = this.#of(number);
    if (of.kind === "stream") return dataset.iterStream({ ...of.options, signal });
    const { from, to, fields } = of;
    const pinned = dataset.currentManifest() === to ? dataset : await dataset.at(to, { signal });
    const diff = await pinned.diff(from, { signal });
    return diff.records(fields === undefined ? {} : { fields });
  }

  #of(number: number): Dataset {
    const dataset = this.#datasets.get(number);
    if (dataset !== undefined) return dataset;
    throw new DreamDBError("Aborted", "this Space is closed, or its worker ended", {
      field: "space",
      committed: "no",
    });
  }

  #state(number: number): SpaceState {
    const dataset = this.#of(number);
    const state = {
      name: dataset.name,
      manifest: dataset.currentManifest(),
      isWritable: dataset.isWritable,
      tracks: dataset.tracks(),
    };
    this.#shown.set(number, state.manifest);
    return state;
  }

  /** With `maxStaleness` any read may find that the ref has moved. */
  #tellIfMoved(number: number): void {
    const dataset = this.#datasets.get(number);
    if (dataset === undefined || dataset.currentManifest() === this.#shown.get(number)) return;
    this.#tell({ news: "moved", in: number, state: this.#state(number) });
  }
}

/**
 * Bytes out of what the session holds become the caller's own: they may be given to another thread, or to a Blob. Done in
 * place, for what is not a view itself.
 */
function owned<T>(value: T): T {
  if (ArrayBuffer.isView(value)) return (value as unknown as Uint8Array).slice() as unknown as T;
  if (typeof value !== "object" || value === null) return value;
  const parts = value as Record<string, unknown>;
  for (const key of Object.keys(parts)) {
    const part = parts[key];
    if (typeof part === "object" && part !== null) parts[key] = owned(part);
  }
  return value;
}
