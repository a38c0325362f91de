import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { addressOf } from "../../src/core/address.ts";
import { blake3, toHex } from "../../src/core/blake3.ts";
import { MAX_TICK } from "../../src/core/time.ts";
import type { Sealed } from "../../src/objects/column.ts";
import {
  cellOfRow,
  decodeSegmentAnchors,
  decodeSegmentHead,
  encodeSegment,
  type SegmentCoding,
  type SegmentHead,
  type SegmentSource,
} from "../../src/objects/segment.ts";
import { everyDamage, everyHugeNumber, outcome } from "./damage.ts";

const coded = (code: string): object => expect.objectContaining({ name: "DreamDBError", code });
const index = addressOf(Uint8Array.of(1));

/** Cells of the given numbers of rows, with ids 3, 8, 13, …; each cell's offsets ascend by the steps of `offsetsOf`. */
function sourceOf(
  sizes: readonly number[],
  dim: number,
  hasVectors: boolean,
  offsetsOf: (cell: number, rows: number) => bigint[],
): SegmentSource {
  const rows = sizes.reduce((sum, size) => sum + size, 0);
  const firstRows = new Uint32Array(sizes.length);
  sizes.forEach((size, i) => {
    if (i + 1 < sizes.length) firstRows[i + 1] = (firstRows[i] as number) + size;
  });
  const floats = Float32Array.from({ length: rows * dim }, (_, i) => Math.fround(Math.sin(i)));
  return {
    spatialIndex: index,
    dim,
    rows,
    cells: Uint32Array.from(sizes, (_, i) => 5 * i + 3),
    firstRows,
    offsets: BigUint64Array.from(sizes.flatMap((size, cell) => offsetsOf(cell, size))),
    ...(hasVectors ? { vectors: new Uint8Array(floats.buffer) } : {}),
  };
}

/** The same with codes of so many bytes a row. */
function withCodes(source: SegmentSource, rowBytes: number): SegmentSource {
  const bytes = Uint8Array.from({ length: source.rows * rowBytes }, (_, i) => (7 * i) % 251);
  return { ...source, codes: { compressor: addressOf(Uint8Array.of(9)), rowBytes, bytes } };
}

/** What a head of this segment is checked against. */
function codingOf({ spatialIndex, dim, cells, codes }: SegmentSource): SegmentCoding {
  const coding = { spatialIndex, dim, cells: (cells.at(-1) ?? 0) + 1 };
  if (codes === undefined) return coding;
  return { ...coding, compressor: { address: codes.compressor, rowBytes: codes.rowBytes } };
}

const byStep =
  (step: bigint) =>
  (cell: number, rows: number): bigint[] =>
    Array.from({ length: rows }, (_, i) => BigInt(cell) + BigInt(i) * step);

function expectRoundTrip(source: SegmentSource): { sealed: Sealed; head: SegmentHead } {
  const sealed = encodeSegment(source);
  const { ref, bytes } = sealed;
  expect(addressOf(bytes)).toBe(ref.address);
  const part = ref.head === undefined ? bytes : bytes.slice(0, ref.head.bytes);
  if (ref.head !== undefined) expect(blake3(part)).toEqual(ref.head.hash);
  const head = decodeSegmentHead(part, { totalBytes: ref.bytes, ...codingOf(source) });
  expect([head.rows, head.dim]).toEqual([source.rows, source.dim]);
  expect(head.cells).toEqual(source.cells);
  expect(head.firstRows).toEqual(Uint32Array.of(...source.firstRows, source.rows));
  let row = 0;
  for (const block of head.blocks) {
    expect(block.firstRow).toBe(row);
    const anchors = bytes.slice(block.anchors.offset, block.anchors.offset + block.anchors.bytes);
    expect(toHex(blake3(anchors))).toBe(toHex(block.anchors.hash));
    expect(decodeSegmentAnchors(head, block, anchors)).toEqual(source.offsets.slice(row, row + block.rows));
    const { codes, vectors } = source;
    for (const [span, all, width] of [
      [block.vectors, vectors, source.dim * 4],
      [block.codes, codes?.bytes, codes?.rowBytes ?? 0],
    ] as const) {
      if (all === undefined || span === undefined) {
        expect([all, span]).toEqual([undefined, undefined]);
        continue;
      }
      const part = bytes.slice(span.offset, span.offset + span.bytes);
      expect(toHex(blake3(part))).toBe(toHex(span.hash));
      expect(Buffer.compare(part, all.slice(row * width, (row + block.rows) * width))).toBe(0);
    }
    row += block.rows;
  }
  expect(row).toBe(source.rows);
  return { sealed, head };
}

describe("round trips", () => {
  test("of any cells, with and without vectors and codes", () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 300 })), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(
        sizes,
        fc.constantFrom(1, 4, 100, 5000, 20_000),
        fc.boolean(),
        fc.constantFrom(0, 5, 70, 3000),
        (given, dim, hasVectors, codeBytes) => {
          const cells =
            dim > 100 || codeBytes > 100 ? given.map((size) => Math.min(size, 30)).slice(0, 10) : given;
          const bare = sourceOf(
            dim > 100 ? cells.map((size) => Math.min(size, 4)) : cells,
            dim,
            hasVectors,
            byStep(4096n),
          );
          const { head } = expectRoundTrip(codeBytes === 0 ? bare : withCodes(bare, codeBytes));
          const sizesOf = [...bare.firstRows.keys()].map(
            (i) => (bare.firstRows[i + 1] ?? bare.rows) - (bare.firstRows[i] as number),
          );
          const rowBytes = hasVectors ? dim * 4 : Math.max(8, codeBytes);
          expect([...head.blocks].map((block) => block.firstRow)).toEqual(cuts(sizesOf, rowBytes));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("of anchors anywhere in 64 bits", () => {
    const offsets = fc.uniqueArray(
      fc.oneof(
        fc.bigInt({ min: 0n, max: MAX_TICK }),
        fc.constantFrom(0n, 127n, 128n, MAX_TICK - 1n, MAX_TICK),
      ),
      {
        minLength: 1,
        maxLength: 40,
      },
    );
    fc.assert(
      fc.property(offsets, fc.integer({ min: 1, max: 40 }), (given, firstCell) => {
        const ascending = (part: bigint[]): bigint[] => part.sort((a, b) => (a < b ? -1 : 1));
        const parts = [given.slice(0, firstCell), given.slice(firstCell)]
          .filter((part) => part.length > 0)
          .map(ascending);
        expectRoundTrip(
          sourceOf(
            parts.map((part) => part.length),
            3,
            true,
            (cell) => parts[cell] as bigint[],
          ),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("of a cell larger than a block, and of blocks that begin inside a cell", () => {
    const { head } = expectRoundTrip(sourceOf([100, 40_000, 2], 1, true, byStep(3n)));
    expect([...head.blocks].map((block) => block.rows)).toEqual([
      100,
      16_384,
      16_384,
      40_000 - 2 * 16_384 + 2,
    ]);
    expect([0, 99, 100, 40_099, 40_100, 40_101].map((row) => cellOfRow(head, row))).toEqual([
      0, 0, 1, 1, 2, 2,
    ]);
  });

  test("of rows larger than a block", () => {
    const { head } = expectRoundTrip(sourceOf([2, 1], 20_000, true, byStep(1n)));
    expect([...head.blocks].map((block) => block.rows)).toEqual([1, 1, 1]);
  });
});

/** Where blocks begin, by the words of spec/0007 §4. */
function cuts(cells: readonly number[], rowBytes: number): number[] {
  const most = Math.max(1, Math.floor(65_536 / rowBytes));
  const starts: number[] = [];
  let row = 0;
  let open = Number.POSITIVE_INFINITY;
  for (const size of cells) {
    if (open + size > most) {
      starts.push(row);
      open = 0;
    }
    open += size;
    while (open > most) {
      starts.push((starts.at(-1) as number) + most);
      open -= most;
    }
    row += size;
  }
  return starts;
}

const examples: Record<string, SegmentSource> = {
  "with vectors": sourceOf([1, 2, 1], 2, true, byStep(300n)),
  "without vectors": sourceOf([1, 2, 1], 2, false, byStep(300n)),
  "of two blocks": sourceOf([2, 3], 10_000, true, byStep(1n)),
  "of two blocks without vectors": sourceOf([8192, 3], 2, false, byStep(1n)),
  "with codes": withCodes(sourceOf([1, 2, 1], 2, false, byStep(300n)), 5),
  "with codes and vectors": withCodes(sourceOf([1, 2, 1], 2, true, byStep(300n)), 5),
  "with codes, of two blocks": withCodes(sourceOf([100, 41], 2, false, byStep(1n)), 500),
};

describe.each(Object.keys(examples))("a head %s", (name) => {
  const source = examples[name] as SegmentSource;
  const { ref, bytes } = encodeSegment(source);
  const expected = { totalBytes: ref.bytes, ...codingOf(source) };
  const headBytes = Number(new DataView(bytes.buffer).getBigUint64(96, true));
  const head = bytes.slice(0, headBytes);

  function expectSound(found: SegmentHead): void {
    expect(found.cells.length).toBeGreaterThan(0);
    let row = 0;
    for (const block of found.blocks) {
      expect(block.firstRow).toBe(row);
      // The room a reader makes for the block's anchors is bounded by the bytes there are.
      expect(block.rows).toBeGreaterThan(0);
      expect(block.rows).toBeLessThanOrEqual(block.anchors.bytes);
      expect(block.anchors.offset + block.anchors.bytes).toBeLessThanOrEqual(ref.bytes);
      row += block.rows;
    }
    expect(row).toBe(found.rows);
  }

  test("damaged in any bit, or cut, is refused by code or still adds up", () => {
    const codes = new Set<string>();
    const visit = (damaged: Uint8Array, what: string): void => {
      const found = outcome(() => decodeSegmentHead(damaged, expected), what);
      if ("value" in found) expectSound(found.value);
      else codes.add(found.code);
      if (damaged.length < headBytes) expect([what, found]).toEqual([what, { code: "Corrupt" }]);
    };
    everyDamage(head, visit);
    everyHugeNumber(head, headBytes, visit);
    expect([...codes].sort()).toEqual(["Corrupt", "InvalidAddress", "LineageMismatch", "UnsupportedVersion"]);
  });

  test("of another index, compressor, dimension, length, magic, version or flags is refused", () => {
    const other = addressOf(Uint8Array.of(2));
    const [compressor, another] = [
      { address: addressOf(Uint8Array.of(9)), rowBytes: 5 },
      { address: other, rowBytes: 5 },
    ];
    const { compressor: own, ...bare } = expected;
    const refusals: [Parameters<typeof decodeSegmentHead>[1], string][] = [
      [{ ...expected, spatialIndex: other }, "LineageMismatch"],
      [{ ...expected, compressor: another }, "LineageMismatch"],
      [own === undefined ? { ...expected, compressor } : bare, "LineageMismatch"],
      [{ ...expected, dim: expected.dim + 1 }, "Corrupt"],
      [{ ...expected, totalBytes: expected.totalBytes + 1 }, "Corrupt"],
      [{ ...expected, cells: (source.cells.at(-1) as number) - 1 }, "Corrupt"],
    ];
    if (own !== undefined) refusals.push([{ ...expected, compressor: { ...own, rowBytes: 6 } }, "Corrupt"]);
    for (const [wrong, code] of refusals) expect(() => decodeSegmentHead(head, wrong)).toThrow(coded(code));
    expect(
      decodeSegmentHead(head, { ...expected, cells: (source.cells.at(-1) as number) + 1 }),
    ).toBeDefined();
    const changes: [number, number, string][] = [
      [0, 0, "Corrupt"],
      [4, 0, "Corrupt"],
      [4, 2, "UnsupportedVersion"],
      [6, 4, "UnsupportedVersion"],
      [6, (head[6] as number) ^ 1, "Corrupt"],
      [6, (head[6] as number) ^ 2, "Corrupt"],
      [92, 1, "Corrupt"],
      [144, 1, "Corrupt"],
      [152, 1, "Corrupt"],
      [160, 1, "Corrupt"],
      [175, 1, "Corrupt"],
      [192, 1, "Corrupt"],
    ];
    for (const [at, value, code] of changes) {
      expect([at, outcome(() => decodeSegmentHead(head.with(at, value), expected), "")]).toEqual([
        at,
        { code },
      ]);
    }
  });

  test("whose block table has a hash of vectors that are not there is refused", () => {
    const at = Number(new DataView(bytes.buffer).getBigUint64(120, true)) + 40;
    const decode = (): unknown => decodeSegmentHead(head.with(at, (head[at] as number) ^ 1), expected);
    if (source.vectors === undefined) expect(decode).toThrow(coded("Corrupt"));
    else expect(decode).not.toThrow();
  });

  test("anchors damaged in any bit, or cut, are refused or ascend", () => {
    const found = decodeSegmentHead(bytes, expected);
    const block = found.blocks.at(found.blocks.length - 1);
    const anchors = bytes.slice(block.anchors.offset, block.anchors.offset + block.anchors.bytes);
    everyDamage(anchors, (damaged, what) => {
      const result = outcome(() => decodeSegmentAnchors(found, block, damaged), what);
      if ("code" in result) return expect(result.code).toBe("Corrupt");
      for (let i = 1; i < block.rows; i++) {
        const isNewCell = found.firstRows.includes(block.firstRow + i);
        expect(isNewCell || (result.value[i] as bigint) > (result.value[i - 1] as bigint)).toBe(true);
      }
    });
  });
});

test("no rows are refused", () => {
  const { bytes } = encodeSegment(sourceOf([], 2, false, byStep(1n)));
  expect(() =>
    decodeSegmentHead(bytes, { totalBytes: bytes.length, spatialIndex: index, dim: 2, cells: 99 }),
  ).toThrow(coded("Corrupt"));
});

describe("anchors of one cell of two rows", () => {
  const { ref, bytes } = encodeSegment(sourceOf([2], 2, true, byStep(5n)));
  const head = decodeSegmentHead(bytes, { totalBytes: ref.bytes, spatialIndex: index, dim: 2, cells: 99 });
  const decode = (...varints: number[]): BigUint64Array =>
    decodeSegmentAnchors(head, head.blocks.at(0), Uint8Array.from(varints));
  const top = [...new Array<number>(9).fill(0xff), 0x01];

  test("as written", () => {
    expect([...decode(0, 5)]).toEqual([0n, 5n]);
    expect([...decode(0, ...top)]).toEqual([0n, MAX_TICK]);
    expect([...decode(0x80, 0x01, 0x7f)]).toEqual([128n, 255n]);
  });

  test.each([
    ["two equal anchors", [0, 0]],
    ["a sum beyond 64 bits", [1, ...top]],
    ["a varint beyond 64 bits", [0, ...top.slice(0, 9), 0x03]],
    ["a varint of 11 bytes", [0, ...new Array<number>(10).fill(0xff), 0x01]],
    ["a varint longer than it need be", [0, 0x85, 0x00]],
    ["too few", [0]],
    ["none", []],
    ["too many", [0, 5, 5]],
    ["one that has no end", [0, 0x85]],
  ])("%s are refused", (_, varints) => {
    expect(() => decode(...varints)).toThrow(coded("Corrupt"));
  });

  test("a varint that goes on is refused at its 11th byte", () => {
    const error = { code: "Corrupt", found: "a varint past its end" };
    expect(() => decode(...new Array<number>(100).fill(0xff), 0x01)).toThrow(expect.objectContaining(error));
  });
});
