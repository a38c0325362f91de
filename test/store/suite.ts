import { describe, expect, test } from "@jest/globals";
import { isDreamDBError } from "../../src/errors.ts";
import type { Store } from "../../src/store/store.ts";

/** What a kind of store may or may not be able to do. */
export interface Capabilities {
  /** Two stores of one place see the same data. */
  reopens: boolean;
  /** Bytes may be changed by the caller while the put is still running. */
  copiesAtOnce: boolean;
  /** Tags are made from the bytes, so that equal bytes have equal tags. */
  tagsFromBytes?: boolean;
  /** Of racing conditional puts, losers may be told `CommitUnknown`. */
  mayNotKnow?: boolean;
  /** Of a tag in a condition only as much is compared as the current tag is long, as Ceph 16 does. */
  ignoresTagTails?: boolean;
  /** The longest key, when that is less than the 1,200 bytes of the specification. */
  maxKeyBytes?: number;
}

/** A place for data; every call of `open` gives another store of that same place. */
export interface Place {
  open(): Store;
}

export const OBJECT = `objects/ab/dyqab${"a".repeat(50)}`;
export const OTHER_OBJECT = `objects/ac/dyqac${"b".repeat(50)}`;

export const utf8 = (text: string) => new TextEncoder().encode(text);
export const text = (value: { bytes: Uint8Array } | undefined) =>
  value === undefined ? undefined : new TextDecoder().decode(value.bytes);

/** What `promise` failed with, as a DreamDBError code; "ok" when it did not fail. */
export async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "ok";
  } catch (error) {
    if (!isDreamDBError(error)) throw error;
    return error.code;
  }
}

export async function keysOf(store: Store, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** The behaviour that every store has; `makePlace` gives a new, empty place. */
export function storeSuite(name: string, makePlace: () => Place, capabilities: Capabilities): void {
  const fresh = () => makePlace().open();

  describe(`${name}: values`, () => {
    test.each([OBJECT, "refs/main"])("%s is absent, then what was put", async (key) => {
      const store = fresh();
      expect(await store.get(key)).toBeUndefined();
      const { etag } = await store.put(key, utf8("hello"));
      const value = await store.get(key);
      expect(text(value)).toBe("hello");
      expect(value!.etag).toBe(etag);
    });

    test.each([OBJECT, "refs/main"])("%s may be empty", async (key) => {
      const store = fresh();
      await store.put(key, new Uint8Array(0));
      expect((await store.get(key))!.bytes.length).toBe(0);
    });

    test.each([OBJECT, "refs/main"])("%s is read by range", async (key) => {
      const store = fresh();
      const { etag } = await store.put(key, utf8("0123456789"));
      const read = async (offset: number, length: number) => text(await store.get(key, { offset, length }));
      expect(await read(2, 3)).toBe("234");
      expect(await read(0, 0)).toBe("");
      expect(await read(8, 100)).toBe("89");
      expect(await read(10, 1)).toBe("");
      expect(await read(1000, 1)).toBe("");
      expect(await read(5, 2 ** 40)).toBe("56789");
      expect((await store.get(key, { offset: 1, length: 1 }))!.etag).toBe(etag);
      expect(await store.get("refs/none", { offset: 0, length: 1 })).toBeUndefined();
    });

    test.each([OBJECT, "refs/main"])("%s is read by range with room offered for it", async (key) => {
      const store = fresh();
      await store.put(key, utf8("0123456789"));
      for (const room of [0, 3, 100]) {
        const read = async (offset: number, length: number) =>
          text(await store.get(key, { offset, length }, { into: new Uint8Array(room) }));
        expect(await read(2, 3)).toBe("234");
        expect(await read(8, 3)).toBe("89");
        expect(await read(10, 2)).toBe("");
      }
      expect(
        await store.get("refs/none", { offset: 0, length: 1 }, { into: new Uint8Array(1) }),
      ).toBeUndefined();
    });

    test.each([
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [0, Number.NaN],
      [0, Number.POSITIVE_INFINITY],
    ])("the range %d, %d is refused", async (offset, length) => {
      expect(await outcome(fresh().get(OBJECT, { offset, length }))).toBe("InvalidArgument");
    });

    test("3 MiB and a few bytes come back whole, and by range", async () => {
      const store = fresh();
      const bytes = Uint8Array.from({ length: 3 * 2 ** 20 + 7 }, (_, i) => (i * 31 + (i >> 8)) & 255);
      await store.put(OBJECT, bytes);
      expect(Buffer.compare((await store.get(OBJECT))!.bytes, bytes)).toBe(0);
      const part = (await store.get(OBJECT, { offset: 1000, length: 2 * 2 ** 20 }))!.bytes;
      expect(Buffer.compare(part, bytes.subarray(1000, 1000 + 2 * 2 ** 20))).toBe(0);
    });

    test("a view into a larger buffer puts only the view", async () => {
      const store = fresh();
      await store.put(OBJECT, utf8("abcdef").subarray(2, 4));
      expect(text(await store.get(OBJECT))).toBe("cd");
    });

    test.each([OBJECT, "refs/main"])("%s does not change with the caller's arrays", async (key) => {
      const store = fresh();
      const given = utf8("abc");
      const put = store.put(key, given);
      if (!capabilities.copiesAtOnce) await put;
      given.fill(0);
      await put;
      const got = await store.get(key);
      expect(text(got)).toBe("abc");
      got!.bytes.fill(0);
      expect(text(await store.get(key))).toBe("abc");
    });

    test.each([OBJECT, "refs/main"])("%s is gone after delete, and may come back", async (key) => {
      const store = fresh();
      await store.delete(key);
      await store.put(key, utf8("one"));
      await store.delete(key);
      expect(await store.get(key)).toBeUndefined();
      expect(await keysOf(store)).toEqual([]);
      await store.delete(key);
      await store.put(key, utf8("two"), { create: true });
      expect(text(await store.get(key))).toBe("two");
    });
  });

  describe(`${name}: conditions`, () => {
    test.each([OBJECT, "refs/main"])("create on %s succeeds once", async (key) => {
      const store = fresh();
      await store.put(key, utf8("one"), { create: true });
      const again = store.put(key, utf8("two"), { create: true });
      await expect(again).rejects.toMatchObject({ code: "Conflict", committed: "no" });
      expect(text(await store.get(key))).toBe("one");
    });

    test("ifMatch needs the current tag", async () => {
      const store = fresh();
      const first = await store.put("refs/main", utf8("1"));
      const second = await store.put("refs/main", utf8("2"), { ifMatch: first.etag });
      const late = store.put("refs/main", utf8("3"), { ifMatch: first.etag });
      await expect(late).rejects.toMatchObject({ code: "Conflict", committed: "no" });
      expect(await store.get("refs/main")).toEqual({ bytes: utf8("2"), etag: second.etag });
    });

    test("ifMatch fails on an absent key, a deleted one, and for a tag that is none", async () => {
      const store = fresh();
      const swap = (etag: string) => outcome(store.put("refs/main", utf8("x"), { ifMatch: etag }));
      expect(await swap("1")).toBe("Conflict");
      const { etag } = await store.put("refs/main", utf8("1"));
      expect(await swap("")).toBe("Conflict");
      if (!capabilities.ignoresTagTails) expect(await swap(`${etag}0`)).toBe("Conflict");
      expect(await swap((etag.startsWith("0") ? "1" : "0") + etag.slice(1))).toBe("Conflict");
      await store.delete("refs/main");
      expect(await swap(etag)).toBe("Conflict");
      expect(await store.get("refs/main")).toBeUndefined();
    });

    const notwithstanding = capabilities.tagsFromBytes ? "deletions" : "equal bytes and deletions";
    test(`every write gets a new tag, ${notwithstanding} notwithstanding`, async () => {
      const store = fresh();
      const etags = new Set<string>();
      for (let i = 0; i < 20; i++) {
        etags.add((await store.put("refs/main", utf8(capabilities.tagsFromBytes ? `${i}` : "same"))).etag);
        if (i % 3 === 0) await store.delete("refs/main");
      }
      expect(etags.size).toBe(20);
    });

    test("ifMatch on an immutable object is refused", async () => {
      const store = fresh();
      const { etag } = await store.put(OBJECT, utf8("a"));
      expect(await outcome(store.put(OBJECT, utf8("b"), { ifMatch: etag }))).toBe("InvalidArgument");
    });

    test.each([
      ["create", undefined],
      ["ifMatch", "0"],
    ])("of 20 concurrent %s puts exactly one wins", async (_, before) => {
      const place = makePlace();
      const store = place.open();
      const etag = before === undefined ? "" : (await store.put("refs/main", utf8(before))).etag;
      const condition = before === undefined ? ({ create: true } as const) : { ifMatch: etag };
      const stores = Array.from({ length: 20 }, () => (capabilities.reopens ? place.open() : store));
      const ends = await Promise.all(
        stores.map((s, i) => outcome(s.put("refs/main", utf8(`w${i}`), condition))),
      );
      const unknown = ends.filter((end) => end === "CommitUnknown").length;
      if (!capabilities.mayNotKnow) expect(unknown).toBe(0);
      const won = ends.filter((end) => end === "ok").length;
      expect(won).toBeLessThanOrEqual(1);
      expect(won + unknown).toBeGreaterThan(0);
      expect(ends.filter((end) => end === "Conflict").length).toBe(20 - won - unknown);
      const winner = Number(text(await store.get("refs/main"))!.slice(1));
      expect(ends[winner]).toBe(won === 1 ? "ok" : "CommitUnknown");
    });

    test("concurrent puts without a condition all succeed", async () => {
      const store = fresh();
      const values = Array.from({ length: 20 }, (_, i) => `v${i}`);
      await Promise.all(values.map((value) => store.put("refs/main", utf8(value))));
      expect(values).toContain(text(await store.get("refs/main")));
    });

    test("100 concurrent puts and gets of objects", async () => {
      const store = fresh();
      const keys = Array.from({ length: 100 }, (_, i) => `objects/x${i % 7}/dyq${i}`);
      await Promise.all(keys.map((key) => store.put(key, utf8(key))));
      expect((await Promise.all(keys.map((key) => store.get(key)))).map(text)).toEqual(keys);
      expect(await keysOf(store)).toEqual([...keys].sort());
    });
  });

  describe(`${name}: keys`, () => {
    test.each([
      "",
      "/",
      "/etc/passwd",
      "refs/",
      "refs//a",
      "..",
      "../x",
      "refs/../../x",
      "refs/./a",
      ".",
      "refs/..",
      "objects/../refs/main",
      "objects/ab",
      "objects/ab/..",
      "objects/ab/x/y",
      "objects/AB/x",
      "objects/ab/x.",
      "refs\\a",
      "refs/a\\..\\b",
      "C:\\x",
      "refs/a\0b",
      "refs/a\nb",
      "refs/a=01",
      "refs/a@",
      "refs+/a",
      "refs/é",
      "refs/a b",
      "refs/%2e%2e",
      `refs/${"a/".repeat(600)}b`,
    ])("%j is refused everywhere", async (key) => {
      const store = fresh();
      expect(await outcome(store.get(key))).toBe("InvalidName");
      expect(await outcome(store.put(key, utf8("x")))).toBe("InvalidName");
      expect(await outcome(store.put(key, utf8("x"), { create: true }))).toBe("InvalidName");
      expect(await outcome(store.delete(key))).toBe("InvalidName");
    });

    test.each(["/", "../", "refs/../", "..", "refs\\", "a\0", "objects/../"])(
      "the prefix %j is refused",
      async (prefix) => {
        expect(await outcome(keysOf(fresh(), prefix))).toBe("InvalidName");
      },
    );

    test("names that a disk might mix up stay apart", async () => {
      const place = makePlace();
      const store = place.open();
      const names = [
        "foo",
        "Foo",
        "FOO",
        "fOo",
        "foo.bar",
        "foo-01",
        "a",
        "A",
        "a/b",
        "a/B",
        "A/b",
        "a/b/c",
        "tmp",
        "con",
      ];
      const keys = [
        ...names.map((name) => `refs/${name}`),
        "tmp/a",
        "meta/x",
        "Objects/ab/x",
        "refs",
        "objects",
      ];
      for (const key of keys) await store.put(key, utf8(key), { create: true });
      for (const key of keys) expect(text(await store.get(key))).toBe(key);
      expect(await keysOf(store)).toEqual([...keys].sort());
      await store.delete("refs/a");
      expect(text(await store.get("refs/a/b"))).toBe("refs/a/b");
      expect(text(await store.get("refs/A"))).toBe("refs/A");
    });

    test("the longest ref name works", async () => {
      const store = fresh();
      const whole = `refs/${Array.from({ length: 8 }, () => "Z".repeat(128)).join("/")}`;
      const key = whole.slice(0, capabilities.maxKeyBytes);
      if (key !== whole) expect(await outcome(store.get(whole))).toBe("InvalidName");
      await store.put(key, utf8("long"));
      expect(text(await store.get(key))).toBe("long");
      expect(await keysOf(store)).toEqual([key]);
    });

    test("list gives the keys of any prefix, in code unit order, with their bytes", async () => {
      const store = fresh();
      const keys = [
        "refs/a",
        "refs/a-b",
        "refs/a.b",
        "refs/a/b",
        "refs/a/c/d",
        "refs/a0",
        "refs/B",
        "refs/b",
        "meta/gc",
      ];
      for (const key of [...keys].reverse()) await store.put(key, utf8(key));
      await store.put(OTHER_OBJECT, utf8("1234"));
      await store.put(OBJECT, utf8("12"));
      const all = [...keys, OBJECT, OTHER_OBJECT].sort();
      for (const prefix of [
        "",
        "refs/",
        "refs",
        "refs/a",
        "refs/a/",
        "refs/a/c",
        "r",
        "objects/",
        "objects/ac",
        "meta/gc",
        "zz",
        "refs/a/b/",
      ]) {
        expect(await keysOf(store, prefix)).toEqual(all.filter((key) => key.startsWith(prefix)));
      }
      const sizes: number[] = [];
      for await (const { bytes } of store.list("objects/")) sizes.push(bytes);
      expect(sizes).toEqual([2, 4]);
    });

    test("list shows the size of the current value", async () => {
      const store = fresh();
      for (const value of ["123456", "1", "123"]) await store.put("refs/main", utf8(value));
      for await (const listed of store.list("refs/")) expect(listed).toEqual({ key: "refs/main", bytes: 3 });
    });
  });

  const whenItReopens = capabilities.reopens ? test : test.skip;
  whenItReopens(`${name}: another store of the same place sees the same values and tags`, async () => {
    const place = makePlace();
    const { etag } = await place.open().put("refs/main", utf8("x"));
    await place.open().put(OBJECT, utf8("y"));
    expect(await place.open().get("refs/main")).toEqual({ bytes: utf8("x"), etag });
    expect(text(await place.open().get(OBJECT))).toBe("y");
  });
}
