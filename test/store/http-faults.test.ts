import { expect, test } from "@jest/globals";
import { httpStore } from "../../src/store/remote/http.ts";
import { faultSuite } from "./fault-suite.ts";
import { withServer } from "./object-server.ts";
import { OBJECT } from "./suite.ts";

faultSuite("unsigned, through fetch", httpStore);

const server = withServer();

test("no cache may answer for a ref, any may for an object, unless what it has is damaged", async () => {
  const asked: unknown[] = [];
  const spied = (input: string | URL | Request, init?: RequestInit) => {
    asked.push(init?.cache);
    return fetch(input, init);
  };
  const store = httpStore(`${server.url}/b`, { fetch: spied });
  await store.get("refs/a");
  await store.get(OBJECT);
  await store.get(OBJECT, { offset: 0, length: 1 }, { again: true });
  expect(asked).toEqual(["no-store", undefined, "reload"]);
  expect(server.requests.map(({ headers }) => headers["cache-control"])).toEqual([
    "no-cache",
    undefined,
    "no-cache",
  ]);
});
