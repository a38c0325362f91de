// What unsigned requests ask of the platform's cache.
import { expect, test } from "@jest/globals";
import { httpStore } from "../../src/store/remote/http.ts";
import { withServer } from "./object-server.ts";
import { OBJECT, utf8 } from "./suite.ts";

const server = withServer();

test("whole objects may come from a cache; ranges and refs go past it", async () => {
  const modes: (string | undefined)[] = [];
  const store = httpStore(`${server.url}/caches`, {
    onWarning: () => {},
    fetch: (input, init) => {
      if (init?.method === "GET") modes.push(init.cache);
      return fetch(input, init);
    },
  });
  await store.put(OBJECT, utf8("twelve bytes"));
  await store.put("refs/a", utf8("x"), { create: true });
  modes.length = 0;
  await store.get(OBJECT);
  await store.get(OBJECT, { offset: 2, length: 3 });
  await store.get("refs/a");
  expect(modes).toEqual([undefined, "no-store", "no-store"]);
  await store.close?.();
});
