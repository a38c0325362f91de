import { describe, expect, test } from "@jest/globals";
import { addressOf } from "../../src/core/address.ts";
import { encodeCbor } from "../../src/core/cbor.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { decodeStepPlan, encodeStepPlan, type StepPlan } from "../../src/objects/ada-step.ts";
import { decodeCellLineage, encodeCellLineage, hiddenCells } from "../../src/objects/cell-lineage.ts";
import { emptyIndex } from "../../src/objects/index-tree.ts";
import { encodeSpatialIndex, type TrainedIndex } from "../../src/objects/spatial-index.ts";

const address = (n: number) => addressOf(Uint8Array.of(n));
const codeOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (isDreamDBError(error)) return error.code;
    throw error;
  }
  return "none";
};

describe("a CellLineage", () => {
  const lineage = { earlier: [address(1), address(2)], since: Uint8Array.of(0, 1, 2) };

  test("comes back as it was", () => {
    expect(decodeCellLineage(encodeCellLineage(lineage), 3)).toEqual(lineage);
  });

  test("says which rows count", () => {
    const cells = Uint32Array.of(0, 1, 2, 7);
    expect(hiddenCells(lineage, 0, cells)).toEqual(Uint8Array.of(0, 1, 1, 1));
    expect(hiddenCells(lineage, 1, cells)).toEqual(Uint8Array.of(0, 0, 1, 1));
    expect(hiddenCells(lineage, 1, Uint32Array.of(0, 1))).toBeUndefined();
  });

  test.each([
    ["of other cells", encodeCellLineage(lineage), 4],
    ["without earlier indexes", encodeCellLineage({ earlier: [], since: Uint8Array.of(0) }), 1],
    ["an index twice", encodeCellLineage({ earlier: [address(1), address(1)], since: Uint8Array.of(0) }), 1],
    ["a generation that is none", encodeCellLineage({ earlier: [address(1)], since: Uint8Array.of(2) }), 1],
    ["of another kind", encodeCbor({ kind: "dreamdb.genesis", version: 1 }), 1],
  ])("is refused: %s", (_, bytes, cells) => {
    expect(codeOf(() => decodeCellLineage(bytes, cells))).toBe("Corrupt");
  });

  test("has 255 earlier indexes at most", () => {
    const earlier = Array.from({ length: 256 }, (_, i) => addressOf(Uint8Array.of(i, 1)));
    expect(codeOf(() => encodeCellLineage({ earlier, since: Uint8Array.of(0) }))).toBe("LimitExceeded");
  });
});

describe("a plan of a step", () => {
  const index: TrainedIndex = {
    ...{ algorithm: "dreamdb.ivf-l2", dim: 2, cells: 3, exponent: 0, parents: [address(3)] },
    centroids: { address: address(4), bytes: 64 + 4 * 6 },
    ...{ seed: new Uint8Array(32), sample: 9, iterations: 8 },
  };
  const plan: StepPlan = {
    base: {
      ...{ genesis: address(5), field: 0, spatialIndex: address(3), compressor: address(6) },
      lineage: { address: address(7), bytes: 99 },
      segments: emptyIndex(),
      timeline: emptyIndex(),
    },
    index,
    address: addressOf(encodeSpatialIndex(index)),
    ...{ sources: [1], changed: [1, 2], tasks: [[1, 0]], reassignPpm: 100_000 },
  };

  test("comes back as it was", () => {
    expect(decodeStepPlan(encodeStepPlan(plan))).toEqual(plan);
  });

  test("is refused when it names cells that there are not", () => {
    expect(codeOf(() => decodeStepPlan(encodeStepPlan({ ...plan, changed: [3] })))).toBe("Corrupt");
    expect(codeOf(() => decodeStepPlan(encodeStepPlan({ ...plan, changed: [2, 1] })))).toBe("Corrupt");
  });
});
