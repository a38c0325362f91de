/** Reading rows of batches: verified blocks of columns, decoded to values. */
import {
  type BlockRows,
  blockOfRow,
  type ColumnBlock,
  type ColumnHead,
  openBlock,
} from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import type { BatchEntry } from "../objects/index-tree.ts";
import { corrupt } from "../objects/shape.ts";
import type { OpenContainer, Session } from "./session.ts";
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
  private ahead = new Map<number, BlockRows>();

  private constructor(
    session: Session,
    field: FieldSpec,
    container: OpenContainer<ColumnHead>,
    isScan: boolean,
  ) {
    this.session = session;
    this.field = field;
    this.container = container;
    this.isScan = isScan;
  }

  /** undefined when the batch has no value of this field. Errors: `Corrupt`, `HashMismatch`, `NotFound`. */
  static async open(
    session: Session,
    field: FieldSpec,
    entry: BatchEntry,
    isScan: boolean,
  ): Promise<ColumnReader | undefined> {
    const ref = entry.columns.get(field.id);
    if (ref === undefined) return undefined;
    const container = await session.openColumn(ref);
    checkColumn(container.head, field, entry);
    return new ColumnReader(session, field, container, isScan);
  }

  get head(): ColumnHead {
    return this.container.head;
  }

  get opened(): OpenContainer<ColumnHead> {
    return this.container;
  }

  /** Appends the values of rows [from, to) to `out`. */
  async read(from: number, to: number, out: unknown[]): Promise<void> {
    for (let row = from; row < to; ) {
      const index = blockOfRow(this.head, row);
      const block = this.head.blocks[index] as ColumnBlock;
      const end = Math.min(to, block.firstRow + block.rows);
      readValues(
        this.field,
        this.head,
        await this.block(index, to),
        row - block.firstRow,
        end - block.firstRow,
        out,
      );
      row = end;
    }
  }

  private async block(index: number, to: number): Promise<BlockRows> {
    const ready = this.ahead.get(index);
    if (ready !== undefined) return ready;
    const { blocks } = this.head;
    const count = this.isScan ? READ_AHEAD_BLOCKS : blockOfRow(this.head, to - 1) - index + 1;
    const wanted = blocks.slice(index, index + count);
    const parts = await this.session.spans(this.container, wanted, !this.isScan);
    this.ahead = new Map(
      wanted.map((block, i) => [index + i, openBlock(this.head, block, parts[i] as Uint8Array)]),
    );
    return this.ahead.get(index) as BlockRows;
  }
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
