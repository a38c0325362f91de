import { expect, test } from "@jest/globals";
import { memoryStore } from "../../src/store/memory.ts";
import { storeSuite, text, utf8 } from "./suite.ts";

let places = 0;

storeSuite(
  "memory, named",
  () => {
    const name = `suite-${places++}`;
    return { open: () => memoryStore(name) };
  },
  { reopens: true, copiesAtOnce: true },
);

storeSuite(
  "memory, private",
  () => {
    const store = memoryStore();
    return { open: () => store };
  },
  { reopens: false, copiesAtOnce: true },
);

test("stores of one name share data, private ones do not", async () => {
  await memoryStore("shared").put("refs/a", utf8("x"));
  expect(text(await memoryStore("shared").get("refs/a"))).toBe("x");
  expect(await memoryStore("other").get("refs/a")).toBeUndefined();
  const alone = memoryStore();
  await alone.put("refs/a", utf8("y"));
  expect(await memoryStore().get("refs/a")).toBeUndefined();
  expect(memoryStore("shared").url).toBe("memory://shared");
});
