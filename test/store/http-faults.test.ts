import { expect, test } from "@jest/globals";
import { httpStore } from "../../src/store/remote/http.ts";
import { faultSuite } from "./fault-suite.ts";
import { withServer } from "./object-server.ts";
import { OBJECT } from "./suite.ts";

faultSuite("unsigned, through fetch", httpStore);

const server = withServer();

test("no cache may answer for a ref, any may for an object", async () => {
  const store = httpStore(`${server.url}/b`);
  await store.get("refs/a");
  await store.get(OBJECT);
  expect(server.requests.map(({ headers }) => headers["cache-control"])).toEqual(["no-cache", undefined]);
});
