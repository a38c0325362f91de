// The read side of the dataset suite on a page: of every kind of field, index, condition and state, the answers of Node, bit for bit.
import { DreamDBSpace } from "/lib/index.js";
import { ask } from "./ask.mjs";
import { equal, fails, node, ok, placeKind, test, using } from "./harness.mjs";
import { OF_DAMAGED, ofState, reads, searches, VECTORS } from "./table.mjs";

const ORIGIN = 1_700_000_000_000_000_000n;
/** The two builds of the compute core, on both sides of the messages. */
const WAYS = [
  ["the SIMD build, here", { kernels: "simd" }],
  ["the scalar build, in a worker", { kernels: "scalar", worker: true }],
];
/** Small memories, so that what is held, and what is read again, differs from Node's. */
const TIGHT = { residentBytes: 1 << 16, cacheBytes: 1 << 16 };
/** Faults that last are told of soon. */
const HASTY = { remote: { attempts: 2, minDelayMs: 1, maxDelayMs: 5, timeoutMs: 1500 } };

/** Holds answers of a Space to those of Node. */
async function compare(space, calls, expected, what) {
  for (const [i, call] of calls.entries()) {
    const found = await ask(space, call);
    if (found !== expected[i]) {
      const at = [...found].findIndex((_, j) => found[j] !== expected[i][j]);
      const [a, b] = [found, expected[i]].map((text) => text.slice(Math.max(0, at - 40), at + 160));
      throw new Error(`${what}: ${JSON.stringify(call, plain).slice(0, 200)}: found …${a}…, Node has …${b}…`);
    }
  }
  return calls.length;
}

const plain = (_, value) => (typeof value === "bigint" ? `${value}n` : value);

for (const [way, options] of WAYS) {
  test(`${way}: every vector field, index and kind of code is searched with the bits of Node`, async () => {
    const { url, bucket } = await node("shared", { what: "table" });
    let compared = 0;
    for (const field of Object.keys(VECTORS)) {
      const calls = searches(field);
      const expected = await node("answers", { bucket, calls });
      await using(`${url}/refs/main`, options, async (space) => {
        compared += await compare(space, calls, expected, field);
      });
    }
    ok(compared > 250, `${compared} answers`);
  });

  test(`${way}: records, conditions and errors of every form are those of Node`, async () => {
    const { url, bucket } = await node("shared", { what: "table" });
    const calls = reads(ORIGIN);
    const expected = await node("answers", { bucket, calls });
    ok(expected.filter((text) => text.startsWith("InvalidArgument")).length >= 9, "too few refusals");
    for (const more of [{}, TIGHT])
      await using(`${url}/refs/main`, { ...options, ...more }, (space) =>
        compare(space, calls, expected, "reads"),
      );
  });

  test(`${way}: every state of a dataset's life is that of Node: merged, deleted, compacted, purged`, async () => {
    const { url, bucket, made } = await node("shared", { what: "life" });
    const addresses = made.map(([, manifest]) => manifest);
    const states = [];
    for (const [i, [what, at]] of made.entries()) {
      const calls = ofState([addresses.at(-1), addresses[Math.max(0, i - 1)]]);
      states.push({ what, at, calls, expected: await node("answers", { bucket, at, calls }) });
    }
    for (const { what, at, calls, expected } of states)
      await using(`${url}/objects/${at.slice(4, 6)}/${at}`, options, (space) =>
        compare(space, calls, expected, what),
      );
    // The same in one session that travels, which shares what was read.
    await using(`${url}/refs/main`, options, async (space) => {
      for (const { what, at, calls, expected } of states) {
        const past = await space.at(at);
        await compare(past, calls.slice(0, 6), expected, `travelled to: ${what}`);
        await past.close();
      }
    });
    await using(`${url}/refs/shot`, options, async (shot) => {
      // What was deleted later is gone from it too.
      equal([shot.isBranch, shot.manifest, await shot.count()], [false, addresses[3], 80 - 17]);
    });
  });

  test(`${way}: bytes that are damaged where they lie are the error that Node has, and mend`, async () => {
    const { url, bucket } = await node("shared", { what: "few", args: [way, navigator.userAgent] });
    const keys = await node("objects", { bucket });
    const answers = new Set();
    // Ceph says that objects never change, so that a browser would not see it of one that it has read before.
    for (const key of placeKind === "served" ? keys : keys.slice(0, 1)) {
      await node("flip", { bucket, key });
      const expected = await node("answers", { bucket, calls: OF_DAMAGED, nonce: key });
      try {
        await using(`${url}/refs/main`, { ...options, ...HASTY }, (space) =>
          compare(space, OF_DAMAGED, expected, key),
        );
      } catch (error) {
        if (error.code === undefined) throw error;
        equal(`${error.code} ${error.field} ${error.message}`, expected[0], key);
      } finally {
        await node("flip", { bucket, key });
      }
      for (const text of expected) answers.add(text.split(" ")[0]);
    }
    ok(answers.has("HashMismatch"), `nothing was found of it: ${[...answers]}`);
    const expected = await node("answers", { bucket, calls: OF_DAMAGED });
    await using(`${url}/refs/main`, options, (space) => compare(space, OF_DAMAGED, expected, "mended"));
    await fails(DreamDBSpace.fromUri(`${url}/refs/other`, options), "NotFound");
  });
}
