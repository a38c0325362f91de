// Damage of every kind, planted: fsck must name the code and the key. Objects at fault carry right hashes wherever the
// damage is one that hashes can't show.
import { beforeAll, describe, expect, test } from "@jest/globals";
import { type Address, addressOf, objectKey } from "../../src/core/address.ts";
import { decodeCbor, encodeCbor } from "../../src/core/cbor.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { decodeGenesis } from "../../src/objects/genesis.ts";
import { decodeManifest, encodeManifest, type Manifest, type Track } from "../../src/objects/manifest.ts";
import { decodeRef, encodeRef, type RefBody } from "../../src/objects/ref.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { testClock } from "./records.ts";
import { copyOf, listing, refusal, watchedStore } from "./stores.ts";

const schema = new Schema()
  .addEmbedding("v", { dim: 4, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
  .addEmbedding("w", { dim: 4, required: false })
  .addScalarString("text", { index: true });
const WIDE = 40_000;

let original: Store;

beforeAll(async () => {
  original = memoryStore();
  const clock = testClock();
  const dataset = await Dataset.create("main", schema, original, { clock: clock.read });
  const record = (i: number) => ({ v: [i + 1, 2, 3, 4], w: [i, 1, 2, 3], text: `text ${i}` });
  await dataset.appendMany(Array.from({ length: 40 }, (_, i) => record(i)));
  await dataset.snapshot("earlier");
  await dataset.rebuildIvf({ field: "w", k: 3 });
  await dataset.appendMany([
    record(1),
    { ...record(2), text: "x".repeat(WIDE) },
    { ...record(3), text: "y".repeat(WIDE) },
  ]);
});

const bytesOf = async (store: Store, key: string) => (await store.get(key))!.bytes;
const refOf = async (store: Store, name = "main") => decodeRef(await bytesOf(store, `refs/${name}`));
const tipOf = async (store: Store) =>
  decodeManifest(await bytesOf(store, objectKey((await refOf(store)).manifest)));

/** Publishes what no writer would: the tip's Manifest, changed. */
async function republish(store: Store, manifest: Manifest, body: Partial<RefBody> = {}): Promise<Address> {
  const { inline: _, ...ref } = await refOf(store);
  const bytes = encodeManifest(manifest);
  const address = addressOf(bytes);
  await store.put(objectKey(address), bytes);
  await store.put("refs/main", encodeRef({ ...ref, manifest: address, seq: manifest.seq, ...body }));
  return address;
}

function withTrack(manifest: Manifest, field: string, change: (track: Track) => Track): Manifest {
  const { id } = manifest.fields.find(({ name }) => name === field)!;
  const tracks = new Map(manifest.tracks).set(id, change(manifest.tracks.get(id)!));
  return { ...manifest, tracks };
}

test("a sound store has no problem, read whole or in part", async () => {
  const whole = await fsck(original);
  // The states of "main" and "earlier".
  expect(whole).toMatchObject({ ok: true, refs: 2, rows: 83, problems: [], unreachable: 0 });
  expect(whole.dataRead).toBe(whole.data);
  const none = await fsck(original, { sample: 0 });
  expect(none).toMatchObject({ ok: true, rows: 83, objects: whole.objects, data: whole.data, dataRead: 0 });
  expect(none.bytes).toBeLessThan(whole.bytes);
});

describe("planted in a state, under right hashes", () => {
  const cases: [string, string, (store: Store) => Promise<string>][] = [
    [
      "a sequence number that does not go on from the parent's",
      "Corrupt",
      async (store) => {
        const tip = await tipOf(store);
        return objectKey(await republish(store, { ...tip, seq: tip.seq + 5 }));
      },
    ],
    [
      "a parent of another Space",
      "LineageMismatch",
      async (store) => {
        await Dataset.create("other", schema, store);
        const other = (await refOf(store, "other")).manifest;
        const tip = await tipOf(store);
        return objectKey(await republish(store, { ...tip, parents: [...tip.parents, other] }));
      },
    ],
    [
      "a ref of another sequence number than its Manifest's",
      "Corrupt",
      async (store) => {
        const tip = await tipOf(store);
        await republish(store, tip, { seq: tip.seq + 1 });
        return "refs/main";
      },
    ],
    [
      "a Manifest inside the ref that is not the one it names",
      "HashMismatch",
      async (store) => {
        const ref = await refOf(store);
        const inline = encodeManifest({ ...(await tipOf(store)), writer: "else" });
        await store.put("refs/main", encodeRef({ ...ref, inline }));
        return "refs/main";
      },
    ],
    [
      "a ref that names an object of another kind",
      "Corrupt",
      async (store) => {
        const { inline: _, ...ref } = await refOf(store);
        const { genesis } = await tipOf(store);
        await store.put("refs/main", encodeRef({ ...ref, manifest: genesis }));
        return objectKey(genesis);
      },
    ],
    [
      "a Genesis of another kind",
      "Corrupt",
      async (store) => {
        const tip = await tipOf(store);
        const [parent] = tip.parents;
        await republish(store, { ...tip, genesis: parent as Address, parents: [], seq: 0 });
        return objectKey(parent as Address);
      },
    ],
    [
      "an object that is not in canonical form",
      "Corrupt",
      async (store) => {
        const { genesis } = await tipOf(store);
        const genesisBytes = await bytesOf(store, objectKey(genesis));
        expect(decodeGenesis(genesisBytes)).toBeDefined();
        // The same map with its first key's length in two bytes.
        const padded = Uint8Array.from([
          genesisBytes[0]!,
          0x78,
          genesisBytes[1]! - 0x60,
          ...genesisBytes.subarray(2),
        ]);
        const address = addressOf(padded);
        await store.put(objectKey(address), padded);
        const tip = await tipOf(store);
        await republish(store, { ...tip, genesis: address, parents: [], seq: 0 });
        return objectKey(address);
      },
    ],
    [
      "two batches of the same anchors",
      "Corrupt",
      async (store) => {
        const tip = await tipOf(store);
        const { entries, rows, pages } = tip.timeline;
        const timeline = { pages, entries: [...entries, entries.at(-1)!], rows: rows + 3 };
        return objectKey(await republish(store, { ...tip, timeline }));
      },
    ],
    [
      "an index without the rows of one append",
      "Corrupt",
      async (store) => {
        const tip = withTrack(await tipOf(store), "w", (track) => {
          const { entries, pages } = track.segments;
          return { ...track, segments: { pages, entries: entries.slice(0, -1), rows: 40 } };
        });
        return objectKey(await republish(store, tip));
      },
    ],
    [
      "an index with the rows of one append twice",
      "Corrupt",
      async (store) => {
        const tip = withTrack(await tipOf(store), "v", (track) => {
          const { entries, pages } = track.segments;
          const first = { ...entries.at(-1)! };
          return {
            ...track,
            segments: { pages, entries: [...entries, first], rows: track.segments.rows + 3 },
          };
        });
        return objectKey(await republish(store, tip));
      },
    ],
    [
      "an index with right counts and another batch's rows",
      "Corrupt",
      async (store) => {
        const tip = withTrack(await tipOf(store), "v", (track) => {
          const { entries, pages, rows } = track.segments;
          const moved = entries.map((entry, i) => (i === 0 ? entry : { ...entry, base: entry.base + 1n }));
          return { ...track, segments: { pages, entries: moved, rows } };
        });
        return objectKey(await republish(store, tip));
      },
    ],
    [
      "a container of another length than its index says",
      "Corrupt",
      async (store) => {
        const tip = await tipOf(store);
        const { entries, rows, pages } = tip.timeline;
        const last = entries.at(-1)!;
        const [id, ref] = [...last.columns].find(([, { bytes }]) => bytes > WIDE)!;
        const columns = new Map(last.columns).set(id, { ...ref, bytes: ref.bytes + 64 });
        await republish(store, {
          ...tip,
          timeline: { pages, entries: [...entries.slice(0, -1), { ...last, columns }], rows },
        });
        return objectKey(ref.address);
      },
    ],
  ];
  test.each(cases)("%s is %s", async (_what, code, plant) => {
    const store = await copyOf(original);
    const key = await plant(store);
    const report = await fsck(store);
    expect(report.ok).toBe(false);
    expect(report.problems).toContainEqual(expect.objectContaining({ code, key }));
  });

  test("a key below refs/ that is no ref's name", async () => {
    const store = await copyOf(original);
    await store.put("refs/.hidden", await bytesOf(store, "refs/main"));
    expect((await fsck(store)).problems).toEqual([
      expect.objectContaining({ code: "InvalidName", key: "refs/.hidden" }),
    ]);
  });

  test("an unknown key and a newer version are told apart: the one is let pass, the other not", async () => {
    const store = await copyOf(original);
    const change = async (key: string, value: unknown): Promise<string> => {
      const { inline: _, ...ref } = await refOf(original);
      const map = decodeCbor(await bytesOf(original, objectKey(ref.manifest))) as Map<string, unknown>;
      const bytes = encodeCbor(map.set(key, value));
      await store.put(objectKey(addressOf(bytes)), bytes);
      await store.put("refs/main", encodeRef({ ...ref, manifest: addressOf(bytes) }));
      return objectKey(addressOf(bytes));
    };
    await change("zzz", 1);
    expect((await fsck(store)).problems).toEqual([]);
    const key = await change("version", 2);
    expect((await fsck(store)).problems).toEqual([
      expect.objectContaining({ code: "UnsupportedVersion", key }),
    ]);
  });
});

describe("with a sample", () => {
  /** Data objects: all that are not CBOR, which begin with a magic. */
  const dataKeys = async (): Promise<string[]> => {
    const keys: string[] = [];
    for (const { key } of await listing(original, "objects/")) {
      const magic = new TextDecoder().decode((await bytesOf(original, key)).subarray(0, 4));
      if (/^DDB[CSIG]$/.test(magic)) keys.push(key);
    }
    return keys;
  };

  test("about that share is read, the same for the same seed, and others for another", async () => {
    const readWith = async (sample: number, seed: number): Promise<string[]> => {
      const whole = new Set<string>();
      const data = new Set(await dataKeys());
      const watched = watchedStore(original, ({ verb, key, range }, run) => {
        if (verb === "get" && data.has(key) && range === undefined) whole.add(key);
        return run();
      });
      const { dataRead } = await fsck(watched, { sample, seed });
      expect(whole.size).toBeGreaterThanOrEqual(dataRead);
      return [...whole].sort();
    };
    const half = await readWith(0.5, 1);
    const all = await dataKeys();
    expect(half.length).toBeGreaterThan(0);
    expect(half.length).toBeLessThan(all.length);
    expect(await readWith(0.5, 1)).toEqual(half);
    expect(await readWith(0.5, 2)).not.toEqual(half);
    expect(await readWith(1, 2)).toEqual(all.sort());
  });

  test("a missing, a shortened and a lengthened data object are found even outside it", async () => {
    for (const key of await dataKeys()) {
      const bytes = await bytesOf(original, key);
      const store = await copyOf(original);
      const codeOf = async () =>
        (await fsck(store, { sample: 0 })).problems.find((one) => one.key === key)?.code;
      await store.put(key, bytes.slice(0, -1));
      expect(await codeOf()).toBe("Corrupt");
      await store.put(key, Uint8Array.from([...bytes, 0]));
      expect(await codeOf()).toBe("Corrupt");
      await store.delete(key);
      expect(await codeOf()).toBe("NotFound");
    }
  });

  test("a changed byte is found in it, and in heads and metadata always", async () => {
    let found = 0;
    const data = new Set(await dataKeys());
    const keys = (await listing(original, "objects/")).map(({ key }) => key);
    for (const key of keys) {
      const bytes = (await bytesOf(original, key)).slice();
      bytes[bytes.length - 1]! ^= 1;
      const store = await copyOf(original);
      await store.put(key, bytes);
      expect((await fsck(store)).problems.map((one) => one.key)).toContain(key);
      const { ok } = await fsck(store, { sample: 0.5, seed: 3 });
      if (!ok) found++;
      if (!data.has(key)) expect(ok).toBe(false);
    }
    const meta = keys.length - data.size;
    expect(found).toBeGreaterThan(meta);
    expect(found).toBeLessThan(keys.length);
  });

  test.each([[-0.1], [1.1], [Number.NaN]])("a share of %d is refused", async (sample) => {
    expect(await refusal(() => fsck(original, { sample }))).toMatchObject({
      code: "InvalidArgument",
      field: "sample",
    });
  });

  test.each([[-1], [0.5]])("a seed of %d is refused", async (seed) => {
    expect(await refusal(() => fsck(original, { seed }))).toMatchObject({
      code: "InvalidArgument",
      field: "seed",
    });
  });
});

test("an object that comes damaged once is asked for again, and is no problem", async () => {
  const seen = new Set<string>();
  const flaky = watchedStore(original, async ({ verb, key }, run) => {
    const value = (await run()) as { bytes: Uint8Array; etag: string } | undefined;
    if (verb !== "get" || value === undefined || !key.startsWith("objects/") || seen.has(key)) return value;
    seen.add(key);
    return { ...value, bytes: value.bytes.slice(1) };
  });
  expect(await fsck(flaky)).toMatchObject({ ok: true });
  expect(seen.size).toBeGreaterThan(10);
});
