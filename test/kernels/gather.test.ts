import { beforeAll, expect, test } from "@jest/globals";
import { bothBuilds, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

test("rows are grouped by cell, rows of a cell in their order", () => {
  const random = seeded(8);
  for (const bits of [1, 7, 8, 9, 16, 17, 24, 32]) {
    for (const n of [0, 1, 2, 255, 3000]) {
      const cells = Uint32Array.from({ length: n }, () => random() ** 3 * 2 ** bits);
      const rows = Array.from(cells, (_, row) => row).sort(
        (a, b) => (cells[a] as number) - (cells[b] as number) || a - b,
      );
      const starts = rows.flatMap((row, i) =>
        i === 0 || cells[row] !== cells[rows[i - 1] as number] ? [i] : [],
      );
      for (const kernels of builds) {
        const found = kernels.sortByCell(cells, bits);
        expect([...found.rows]).toEqual(rows);
        expect([...found.firstRows]).toEqual(starts);
        expect([...found.cells]).toEqual(starts.map((i) => cells[rows[i] as number]));
      }
    }
  }
});

test("rows of any width are gathered whole, and nothing beyond them is touched", () => {
  const random = seeded(9);
  for (const width of [1, 4, 15, 16, 17, 32, 40, 400, 20_000]) {
    const source = Uint8Array.from({ length: width * 20 }, () => random() * 256);
    const index = Uint32Array.from({ length: 33 }, () => random() * 20);
    const wanted = [...index].flatMap((row) => [...source.subarray(row * width, (row + 1) * width)]);
    for (const kernels of builds) {
      const [from, list, to] = [
        kernels.copyIn(source),
        kernels.copyIn(index),
        kernels.alloc(33 * width + 16),
      ];
      kernels.bytes(to, 33 * width + 16).fill(99);
      kernels.gatherRows(from, width, list, 33, to);
      expect(Buffer.compare(kernels.bytes(to, 33 * width), Uint8Array.from(wanted))).toBe(0);
      expect([...kernels.bytes(to + 33 * width, 16)]).toEqual(new Array(16).fill(99));
      for (const pointer of [from, list, to]) kernels.free(pointer);
    }
  }
});
