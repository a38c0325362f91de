/// <reference lib="esnext.disposable" preserve="true" />
/** `ds.writer()`: many small writes, few appends. */
import { toHex } from "../core/blake3.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { checkSignal } from "../store/aborted.ts";
import type { AppendOperation, AppendResult, Staged } from "./append.ts";
import { type AppendProgress, checkProgress } from "./append-progress.ts";
import type { Cancellable } from "./context.ts";
import type { RowSource } from "./row-source.ts";
import type { FieldTypes, RecordIn } from "./schema.ts";

export interface WriterOptions extends Cancellable {
  /** Records that make an append by themselves. Default: only `flush` and `close` make one. */
  rows?: number | undefined;
  /** Bytes of values that make an append by themselves. Default: only `flush` and `close` make one. */
  bytes?: number | undefined;
  /** Called when an object is stored; `rows` counts what is encoded of all that was written so far. */
  onProgress?: ((progress: AppendProgress) => void) | undefined;
}

/** What one append of a writer came to. */
export interface FlushResult extends AppendResult {
  /** 32 hex digits that name the operation. */
  opId: string;
  rows: number;
}

/** What is in the dataset of a writer's records. */
export interface Committed {
  rows: number;
  appends: number;
  /** The last append. */
  last: FlushResult | undefined;
}

/** What a writer needs of its dataset. */
export interface WriterPort {
  newOpId(): Uint8Array;
  source(records: readonly Record<string, unknown>[]): RowSource;
  stage(operation: AppendOperation): Promise<Staged>;
  commit(operation: AppendOperation, staged: Staged): Promise<AppendResult>;
}

type Row = Record<string, unknown>;

/** Records that become one append. */
interface Group {
  records: readonly Row[];
  operation: AppendOperation;
  /** Undefined until encoded, and again after a failure. */
  staged: Promise<Staged> | undefined;
}

/** Groups that may be under way while another is filled: one is committed, the others encoded and stored meanwhile. */
const GROUPS_AHEAD = 3;

/**
 * Collects records and appends them in groups, in the order they were written: as one append when `flush()` or `close()`
 * is called, or earlier where the limits given to `ds.writer` are reached. While a group is committed the next is encoded and
 * its objects are stored. Records are held as they were given until their append is in: do not change them.
 *
 * An error is thrown by the call that waits for the append, or by the next one; it says by `committed` whether that append
 * took effect and by `opId` which it was; `committed` of the writer tells what is in. Nothing is lost then: `flush()` tries the same
 * operation again, which never appends twice, and `discard()` hands back what is not in.
 */
export class DatasetWriter<F extends FieldTypes> {
  private readonly port: WriterPort;
  private readonly limits: { rows: number; bytes: number };
  private readonly onProgress: ((progress: AppendProgress) => void) | undefined;
  private records: Row[] = [];
  private bytes = 0;
  /** Oldest first; one that is in leaves. */
  private groups: Group[] = [];
  private running: Promise<void> | undefined;
  private failure: { error: unknown } | undefined;
  private isClosed = false;
  private done: Committed = { rows: 0, appends: 0, last: undefined };
  /** Of all groups that were staged, for `onProgress`. */
  private progress = { rows: 0, bytes: 0 };
  private wakeUps: (() => void)[] = [];

  constructor(options: WriterOptions, port: WriterPort) {
    const { rows, bytes, signal, onProgress } = options;
    this.port = port;
    this.limits = { rows: limit("rows", rows), bytes: limit("bytes", bytes) };
    checkSignal(signal);
    checkProgress(onProgress);
    this.onProgress = onProgress;
  }

  /** What is in the dataset so far. */
  get committed(): Committed {
    return { ...this.done };
  }

  /** Records that were written and are not known to be in. */
  get pending(): number {
    return this.groups.reduce((sum, group) => sum + group.records.length, this.records.length);
  }

  /**
   * Takes a record or several. Resolves when there is room for more: wait for it, or memory grows without bound.
   * Errors: of an append that failed, as `appendMany`; the records are taken all the same, for `flush` or `discard`.
   * `ReadOnly` after `close`.
   */
  async write(records: RecordIn<F> | readonly RecordIn<F>[]): Promise<void> {
    this.checkOpen();
    for (const record of (Array.isArray(records) ? records : [records]) as readonly Row[]) {
      this.records.push(record);
      if (this.limits.bytes < Number.POSITIVE_INFINITY) this.bytes += bytesOf(record);
      if (this.records.length >= this.limits.rows || this.bytes >= this.limits.bytes) this.cut();
    }
    while (this.failure === undefined && this.groups.length >= GROUPS_AHEAD) await this.change();
    this.throwFailure();
  }

  /**
   * Appends all that was written and waits until it is in. After an error it tries the operations that failed again.
   * @returns the last append of this writer, with the Manifest and the signals; undefined when nothing was ever written.
   * Errors: as `appendMany`.
   */
  async flush(): Promise<FlushResult | undefined> {
    this.checkOpen();
    return this.settle();
  }

  /** Flushes; nothing can be written afterwards. After an error the writer stays open, for `flush` or `discard`. */
  async close(): Promise<FlushResult | undefined> {
    if (this.isClosed) return this.done.last;
    const last = await this.settle();
    this.isClosed = true;
    return last;
  }

  /**
   * Gives up what is not in and returns it, oldest first. Where an append's outcome is unknown its records are among
   * these: `ds.resume(opId)` tells. Waits for what is under way.
   */
  async discard(): Promise<RecordIn<F>[]> {
    this.failure ??= {
      error: new DreamDBError("Aborted", "these records were discarded", { committed: "no" }),
    };
    await this.running;
    const left = [...this.groups.flatMap((group) => group.records), ...this.records];
    for (const { staged } of this.groups) staged?.then(({ uploads }) => uploads.stop()).catch(() => {});
    this.groups = [];
    this.records = [];
    this.bytes = 0;
    this.failure = undefined;
    return left as RecordIn<F>[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async settle(): Promise<FlushResult | undefined> {
    this.cut();
    if (this.failure !== undefined) {
      this.failure = undefined;
      this.start();
    }
    while (this.failure === undefined && this.groups.length > 0) await this.change();
    this.throwFailure();
    return this.done.last;
  }

  /** Makes a group of what has been collected. */
  private cut(): void {
    if (this.records.length === 0) return;
    const { records } = this;
    const operation: AppendOperation = {
      source: this.port.source(records),
      opId: this.port.newOpId(),
      isResumed: false,
      onProgress: this.onProgress && this.reporter(),
    };
    this.groups.push({ records, operation, staged: undefined });
    this.records = [];
    this.bytes = 0;
    this.start();
    this.wake();
  }

  private start(): void {
    if (this.running !== undefined || this.failure !== undefined) return;
    this.running = this.run().finally(() => {
      this.running = undefined;
      this.wake();
    });
  }

  private async run(): Promise<void> {
    while (this.failure === undefined) {
      const group = this.groups[0];
      if (group === undefined) return;
      try {
        await this.commit(group);
      } catch (error) {
        this.fail(group, error);
      }
      this.wake();
    }
  }

  private async commit(group: Group): Promise<void> {
    const { operation, records } = group;
    group.staged ??= this.port.stage(operation);
    const staged = await group.staged;
    const commit = this.port.commit(operation, staged);
    void this.stageAhead(commit);
    const result = await commit;
    const opId = toHex(operation.opId);
    this.groups.shift();
    const { rows, appends } = this.done;
    this.done = {
      rows: rows + records.length,
      appends: appends + 1,
      last: { ...result, opId, rows: records.length },
    };
  }

  /**
   * Encodes the next groups while one is committed, so that their objects travel meanwhile. They are committed after it, in
   * their order; what is wrong with one is thrown when its turn comes.
   */
  private async stageAhead(commit: Promise<unknown>): Promise<void> {
    let isOver = false;
    const end = (): void => {
      isOver = true;
    };
    const over = commit.then(end, end);
    while (!isOver) {
      const next = this.groups.slice(1, GROUPS_AHEAD).find((group) => group.staged === undefined);
      if (next === undefined) await Promise.race([over, this.change()]);
      else {
        next.staged = this.port.stage(next.operation);
        await next.staged.catch(() => {});
      }
    }
  }

  private fail(group: Group, error: unknown): void {
    // Uploads that failed stay failed, and a tip that moved may ask for other cells: the next attempt encodes anew.
    for (const each of this.groups) {
      each.staged?.then(({ uploads }) => uploads.stop()).catch(() => {});
      each.staged = undefined;
    }
    if (isDreamDBError(error)) {
      if (error.opId === undefined) Object.assign(error, { opId: toHex(group.operation.opId) });
      // A later attempt has to look first, whatever the others find.
      if (error.committed !== "no") group.operation.isResumed = true;
    } else group.operation.isResumed = true;
    this.failure = { error };
  }

  private reporter(): (progress: AppendProgress) => void {
    let rows = 0;
    let bytes = 0;
    let bytesTotal = 0;
    return (progress) => {
      this.progress.rows += progress.rows - rows;
      this.progress.bytes += progress.bytes - bytes;
      ({ rows, bytes, bytesTotal } = progress);
      this.onProgress?.({
        rows: this.progress.rows,
        rowsTotal: this.done.rows + this.pending,
        bytes: this.progress.bytes,
        bytesTotal: this.progress.bytes + bytesTotal - bytes,
      });
    };
  }

  private throwFailure(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }

  private checkOpen(): void {
    if (!this.isClosed) return;
    throw new DreamDBError("ReadOnly", "the writer is closed", {
      field: "writer",
      found: "a closed writer",
      expected: "a new one: ds.writer()",
      committed: "no",
    });
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.wakeUps.push(resolve));
  }

  private wake(): void {
    const { wakeUps } = this;
    this.wakeUps = [];
    for (const wakeUp of wakeUps) wakeUp();
  }
}

function limit(field: string, value: number | undefined): number {
  if (value === undefined) return Number.POSITIVE_INFINITY;
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new DreamDBError("InvalidArgument", "not a limit of a writer", {
    field,
    found: value,
    expected: "an integer from 1, or nothing",
    committed: "no",
  });
}

/** About the bytes that a record's values take. */
function bytesOf(record: unknown): number {
  if (typeof record !== "object" || record === null) return 0;
  let bytes = 0;
  for (const value of Object.values(record)) {
    if (typeof value === "string") bytes += value.length;
    else if (ArrayBuffer.isView(value)) bytes += value.byteLength;
    else if (Array.isArray(value)) bytes += 4 * value.length;
    else bytes += 8;
  }
  return bytes;
}
