/** Reading rows of batches: verified blocks of columns, decoded to values. */
import { type Bits, nextRow } from "../index/bitset.ts";
import {
  type BlockRows,
  blockOfRow,
  type ColumnBlock,
  type ColumnHead,
  openBlock,
} from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import { type BatchEntry, batchCodec } from "../objects/index-tree.ts";
import { corrupt } from "../objects/shape.ts";
import type { OpenContainer, Session } from "./session.ts";
import type { Located } from "./timeline.ts";
import { readValues, valueTypeOf } from "./values.ts";

/** Blocks read ahead when a column is read through: a row group of at most 1 MiB. */
const READ_AHEAD_BLOCKS = 16;

/** One field's column in one batch, read in blocks. */
export class ColumnReader {
  private readonly session: Session;
  private readonly field: FieldSpec;
  private readonly container: OpenContainer<ColumnHead>;
  /** Whether to read ahead and keep nothing (a scan) or to keep blocks in the session (point reads). */
  private readonly isScan: boolean;
  /** Rows that will be asked for, when not all of them: blocks without any are not read ahead. */
  private readonly chosen: Bits | undefined;
  private ahead = new Map<number, BlockRows>();

  private constructor(
    session: Session,
    field: FieldSpec,
    container: OpenContainer<ColumnHead>,
    isScan: boolean,
    chosen: Bits | undefined,
  ) {
    this.session = session;
    this.field = field;
    this.container = container;
    this.isScan = isScan;
    this.chosen = chosen;
  }

  /** undefined when the batch has no value of this field. Errors: `Corrupt`, `HashMismatch`, `NotFound`. */
  static async open(
    session: Session,
    field: FieldSpec,
    entry: BatchEntry,
    isScan: boolean,
    chosen?: Bits,
  ): Promise<ColumnReader | undefined> {
    // Some come as a tree has them: those of a merge or a diff.
    const seen = session.following.redactions?.entry(entry, batchCodec) ?? entry;
    const ref = seen.columns.get(field.id);
    if (ref === undefined) return undefined;
    const container = await session.openColumn(ref);
    checkColumn(container.head, field, entry);
    return new ColumnReader(session, field, container, isScan, chosen);
  }

  get head(): ColumnHead {
    return this.container.head;
  }

  get opened(): OpenContainer<ColumnHead> {
    return this.container;
  }

  /** Appends the values of rows [from, to) to `out`. */
  read(from: number, to: number, out: unknown[]): Promise<void> {
    return this.visit(from, to, (block, first, end) =>
      readValues(this.field, this.head, block, first, end, out),
    );
  }

  /** Calls `use` with the blocks that hold rows [from, to), in their order, and which rows of each. */
  async visit(
    from: number,
    to: number,
    use: (block: BlockRows, first: number, end: number) => void,
  ): Promise<void> {
    for (let row = from; row < to; ) {
      const index = blockOfRow(this.head, row);
      const block = this.head.blocks[index] as ColumnBlock;
      const end = Math.min(to, block.firstRow + block.rows);
      use(await this.block(index, to), row - block.firstRow, end - block.firstRow);
      row = end;
    }
  }

  private async block(index: number, to: number): Promise<BlockRows> {
    const ready = this.ahead.get(index);
    if (ready !== undefined) return ready;
    const { blocks } = this.head;
    const wanted = this.isScan ? this.nextBlocks(index) : numbersTo(index, blockOfRow(this.head, to - 1));
    const spans = wanted.map((i) => blocks[i] as ColumnBlock);
    const parts = await this.session.spans(this.container, spans, !this.isScan);
    this.ahead = new Map(
      wanted.map((i, n) => [i, openBlock(this.head, spans[n] as ColumnBlock, parts[n] as Uint8Array)]),
    );
    return this.ahead.get(index) as BlockRows;
  }

  /** A block, and those after it that have rows to read, up to READ_AHEAD_BLOCKS. */
  private nextBlocks(index: number): number[] {
    const { blocks } = this.head;
    const { chosen } = this;
    if (chosen === undefined) return numbersTo(index, Math.min(blocks.length, index + READ_AHEAD_BLOCKS) - 1);
    const wanted = [index];
    for (let i = index + 1; i < blocks.length && wanted.length < READ_AHEAD_BLOCKS; i++) {
      const { firstRow, rows } = blocks[i] as ColumnBlock;
      if (nextRow(chosen, firstRow, firstRow + rows) < firstRow + rows) wanted.push(i);
    }
    return wanted;
  }
}

/** From `first` to `last`, both included. */
function numbersTo(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function checkColumn(head: ColumnHead, field: FieldSpec, entry: BatchEntry): void {
  const expected = valueTypeOf(field);
  if (head.kind !== expected.kind || head.type !== expected.type || head.width !== expected.width) {
    throw corrupt(
      `column of "${field.name}"`,
      `kind ${head.kind}, type ${head.type}`,
      `kind ${expected.kind}, type ${expected.type}`,
    );
  }
  if (head.rows !== entry.rows)
    throw corrupt(`column of "${field.name}"`, `${head.rows} rows`, `${entry.rows} rows`);
}

/** The values of one record, in the order of `fields`. */
export async function readRow(
  session: Session,
  fields: readonly FieldSpec[],
  at: Located,
): Promise<unknown[]> {
  return Promise.all(
    fields.map(async (field) => {
      const reader = await ColumnReader.open(session, field, at.entry, false);
      const values: unknown[] = [];
      await reader?.read(at.row, at.row + 1, values);
      return values[0];
    }),
  );
}

/**
 * The values of many records, each in the order of `fields`: the heads of their columns in one step, and the blocks in another.
 * @param reads how ranges are put together in place of the session's way
 */
export async function readRows(
  session: Session,
  fields: readonly FieldSpec[],
  places: readonly Located[],
  reads = session.reads,
): Promise<unknown[][]> {
  const out: unknown[][] = places.map(() => new Array(fields.length).fill(undefined));
  const byEntry = new Map<BatchEntry, number[]>();
  for (const [i, { entry }] of places.entries()) {
    const known = byEntry.get(entry);
    if (known === undefined) byEntry.set(entry, [i]);
    else known.push(i);
  }
  const pairs = [...byEntry].flatMap(([entry, members]) =>
    fields.map((field, f) => ({ entry, members, field, f })),
  );
  const columns = await Promise.all(
    pairs.map(async ({ entry, members, field, f }) => {
      const reader = await ColumnReader.open(session, field, entry, false);
      if (reader === undefined) return [];
      const { head, opened: container } = reader;
      const byBlock = new Map<number, number[]>();
      for (const i of members) {
        const index = blockOfRow(head, (places[i] as Located).row);
        const known = byBlock.get(index);
        if (known === undefined) byBlock.set(index, [i]);
        else known.push(i);
      }
      const blocks = [...byBlock].map(([index, chosen]) => ({
        block: head.blocks[index] as ColumnBlock,
        chosen,
      }));
      return [{ container, spans: blocks.map(({ block }) => block), head, blocks, field, f }];
    }),
  );
  const wanted = columns.flat();
  const read = await session.spansOf(wanted, true, undefined, reads);
  for (const [w, { head, blocks, field, f }] of wanted.entries()) {
    for (const [b, { block, chosen }] of blocks.entries()) {
      const rows = openBlock(head, block, (read[w] as Uint8Array[])[b] as Uint8Array);
      for (const i of chosen) {
        const at = (places[i] as Located).row - block.firstRow;
        const values: unknown[] = [];
        readValues(field, head, rows, at, at + 1, values);
        (out[i] as unknown[])[f] = values[0];
      }
    }
  }
  return out;
}
