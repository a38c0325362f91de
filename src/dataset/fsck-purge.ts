/** Looking for what deleted records leave behind (spec/0020-maintenance.md §6): in containers, and in objects that nobody reaches. */
import { decodeCbor } from "../core/cbor.ts";
import { addRow, hasRow, noRows } from "../index/bitset.ts";
import { addRoaring } from "../index/roaring.ts";
import { decodeColumnHead, openBlock, ValueType } from "../objects/column.ts";
import { decodeScalarIndexHead, openIndexPage, TreeForm } from "../objects/scalar-index.ts";

/** Whether a column has anything in the rows `dead`: a value, bytes where none should be, or words that no other row has. */
export function columnHolds(bytes: Uint8Array, dead: ReadonlySet<number>): boolean {
  const head = decodeColumnHead(bytes, bytes.length);
  const isUsed = new Uint8Array(head.dictionary.length);
  for (const block of head.blocks) {
    const rows = openBlock(head, block, bytes.subarray(block.offset, block.offset + block.bytes));
    for (let i = 0; i < block.rows; i++) {
      const value = rows.value(i);
      if (dead.has(block.firstRow + i)) {
        if (rows.isPresent(i) || value.some((byte) => byte !== 0)) return true;
      } else if (head.type === ValueType.categorical && rows.isPresent(i)) {
        isUsed[new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true)] = 1;
      }
    }
  }
  return isUsed.includes(0);
}

/** Whether an index over scalars leads to any of the rows `dead`, or has a key that leads nowhere. */
export function indexHolds(bytes: Uint8Array, dead: ReadonlySet<number>): boolean {
  const head = decodeScalarIndexHead(bytes, bytes.length);
  for (const tree of head.trees.values()) {
    for (const page of tree.pages) {
      const opened = openIndexPage(head, tree, page, bytes.subarray(page.offset, page.offset + page.bytes));
      for (let entry = 0; entry < page.entries; entry++) {
        const rows = noRows(head.rows);
        if (tree.form === TreeForm.rows) addRow(rows, opened.row(entry));
        else addRoaring(opened.bitmap(entry), head.rows, rows);
        if (!rows.some((word) => word !== 0)) return true;
        for (const row of dead) if (hasRow(rows, row)) return true;
      }
    }
  }
  return false;
}

/** What stored objects begin with, as a little-endian number. */
const MAGICS = new Map([
  [0x43424444, "column"],
  [0x53424444, "segment"],
  [0x49424444, "scalar index"],
  [0x47424444, "page of a graph"],
  [0x4b424444, "centroids"],
]);

/** Objects with values of records, or with what is computed from them. Others have addresses, anchors and parameters. */
export const HOLDING_VALUES: ReadonlySet<string> = new Set(MAGICS.values());

/** What an object is, by its first bytes or its `kind`; undefined for none of this format. */
export function kindOf(bytes: Uint8Array): string | undefined {
  if (bytes.length >= 4) {
    const magic = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
    const container = MAGICS.get(magic);
    if (container !== undefined) return container;
  }
  try {
    const object = decodeCbor(bytes);
    const kind = object instanceof Map ? object.get("kind") : undefined;
    return typeof kind === "string" && kind.startsWith("dreamdb.") ? kind : undefined;
  } catch {
    return undefined;
  }
}
