/** Rows in, commits out: a batch at a time, in bounded memory. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Dataset, DreamDBError, type FieldSpec, isDreamDBError } from "../index.node.ts";
import type { Row } from "./source.ts";
import { toAnchor, toValue } from "./value.ts";

export interface LoaderOptions {
  base: string;
  fields: readonly FieldSpec[];
  /** Set when every row must have its anchor there; without it a row may have one under `_anchor`. */
  anchorField: string | undefined;
  batch: number;
  skip: number;
  /** Opens or creates the dataset, when the first batch is ready: a bad first row leaves nothing behind. */
  open: () => Promise<Dataset>;
  /** Checks rows against the schema, each batch in a dataset of its own that is thrown away. Default false. */
  isDryRun?: boolean;
}

/** Media are held in memory until their batch is committed, so bytes end a batch as well as rows do. */
const MAX_BATCH_BYTES = 64 << 20;
const COMMIT_ATTEMPTS = 3;
const RETRY_MS = 500;

/** A failed ingest: what failed, and what was committed before it. */
export class IngestError extends DreamDBError {
  /** Records that this run committed. */
  readonly records: number;
  /** Rows of the source that need not be read again: for --skip. */
  readonly skip: number;

  constructor(error: DreamDBError, where: string, records: number, skip: number) {
    const advice = skip > 0 ? `; --skip ${skip} goes on from there` : "";
    const { code, retryable, committed, opId, errno } = error;
    super(code, `${where}${error.message}; ${records} records were committed before${advice}`, {
      retryable,
      cause: error,
      ...(committed === undefined ? {} : { committed }),
      ...(opId === undefined ? {} : { opId }),
      ...(errno === undefined ? {} : { errno }),
    });
    this.records = records;
    this.skip = skip;
  }
}

export class Loader {
  records = 0;
  batches = 0;
  private readonly options: LoaderOptions;
  private readonly known: ReadonlySet<string>;
  private dataset: Dataset | undefined;
  private waiting: Record<string, unknown>[] = [];
  private places: string[] = [];
  private waitingBytes = 0;

  constructor(options: LoaderOptions) {
    this.options = options;
    this.known = new Set(options.fields.map((field) => field.name));
  }

  /** @param onRow called after every row. Errors: `IngestError`. */
  async load(rows: AsyncIterable<Row>, onRow: () => void): Promise<void> {
    const { batch, skip } = this.options;
    let seen = 0;
    try {
      for await (const row of rows) {
        if (++seen <= skip) continue;
        this.add(await this.toRecord(row), row.where);
        if (this.waiting.length >= batch || this.waitingBytes >= MAX_BATCH_BYTES) await this.commit();
        onRow();
      }
      if (this.waiting.length > 0) await this.commit();
    } catch (error) {
      if (!isDreamDBError(error) || error instanceof IngestError) throw error;
      throw this.failed(error, "");
    }
  }

  /** The dataset as it is now; created even when there were no rows. */
  async finish(): Promise<Dataset> {
    this.dataset ??= await this.options.open();
    return this.dataset;
  }

  private add(record: Record<string, unknown>, where: string): void {
    this.waiting.push(record);
    this.places.push(where);
    for (const value of Object.values(record)) this.waitingBytes += bytesOf(value);
  }

  private async toRecord(row: Row): Promise<Record<string, unknown>> {
    const { fields, base, anchorField } = this.options;
    const { where, values } = row;
    this.refuseUnknown(row);
    const record: Record<string, unknown> = {};
    const anchor = ownValue(values, anchorField ?? "_anchor");
    if (anchorField !== undefined || (anchor !== undefined && anchor !== null)) {
      record._anchor = toAnchor(anchor, anchorField ?? "_anchor", where);
    }
    for (const field of fields) {
      const value = await toValue(field, ownValue(values, field.name), base, where);
      if (value !== undefined) record[field.name] = value;
    }
    return record;
  }

  private refuseUnknown({ where, values }: Row): void {
    const { anchorField = "_anchor" } = this.options;
    for (const name of Object.keys(values)) {
      if (this.known.has(name) || name === anchorField) continue;
      throw new DreamDBError("SchemaViolation", `${where} has a field that the schema lacks`, {
        field: name,
        found: name,
        expected: `one of ${[...this.known].join(", ")}`,
        committed: "no",
      });
    }
  }

  private async commit(): Promise<void> {
    const { waiting, places } = this;
    try {
      this.dataset ??= await this.options.open();
      await appendSurely(this.dataset, waiting);
    } catch (error) {
      throw isDreamDBError(error) ? this.failed(error, `${placeOf(error, places)}: `) : error;
    }
    if (this.options.isDryRun === true) this.dataset = undefined;
    this.records += waiting.length;
    this.batches++;
    this.waiting = [];
    this.places = [];
    this.waitingBytes = 0;
  }

  private failed(error: DreamDBError, where: string): IngestError {
    return new IngestError(
      error,
      where,
      this.records,
      this.records === 0 ? 0 : this.options.skip + this.records,
    );
  }
}

/** Appends; an outcome that got lost is asked for again under the operation's id, which never appends twice. */
async function appendSurely(dataset: Dataset, records: Record<string, unknown>[]): Promise<void> {
  let opId: string | undefined;
  for (let attempt = 1; ; attempt++) {
    try {
      await dataset.appendMany(records, opId === undefined ? {} : { opId });
      return;
    } catch (error) {
      if (!isDreamDBError(error, "CommitUnknown") || error.opId === undefined || attempt >= COMMIT_ATTEMPTS)
        throw error;
      opId = error.opId;
      await sleep(RETRY_MS * attempt);
    }
  }
}

/** The row that the library's message counts out, or else all rows of the batch. */
function placeOf(error: DreamDBError, places: readonly string[]): string {
  const index = /^record (\d+) /.exec(error.message)?.[1];
  const exact = index === undefined ? undefined : places[Number(index)];
  const [first, last] = [places[0], places.at(-1)];
  return exact ?? (first === last ? `${first}` : `${first} to ${last}`);
}

function ownValue(values: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

function bytesOf(value: unknown): number {
  if (typeof value === "string") return 2 * value.length;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  return Array.isArray(value) ? 8 * value.length : 8;
}
