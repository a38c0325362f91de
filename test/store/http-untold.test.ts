// Browsers tell a page nothing of why a request failed: the error names what it may be.
import { afterEach, expect, test } from "@jest/globals";
import { httpStore } from "../../src/store/remote/http.ts";

afterEach(() => {
  Reflect.deleteProperty(globalThis, "location");
});

/** The error of a read on a page, as browsers fail it. */
async function failureOn(origin: string, url: string): Promise<{ code: string; message: string }> {
  Object.assign(globalThis, { location: { origin } });
  const store = httpStore(url, {
    attempts: 1,
    onWarning: () => {},
    fetch: () => Promise.reject(new TypeError("Failed to fetch")),
  });
  return store.get("refs/a").then(
    () => {
      throw new Error("it was answered");
    },
    (error) => error,
  );
}

test("a request without an answer may be the server's fault, or kept back by the page itself", async () => {
  const { code, message } = await failureOn("https://app.example", "https://data.example/bucket");
  expect(code).toBe("StoreUnavailable");
  for (const words of [
    "can't be reached",
    "redirects",
    "(CORS)",
    "(connect-src)",
    "Access-Control-Allow-Origin: https://app.example",
    "docs/browser.md",
  ])
    expect(message).toContain(words);
  expect(message).not.toContain("mixed content");
});

test("an address of http: on a page of https: may be refused for that", async () => {
  const { message } = await failureOn("https://app.example", "http://data.example/bucket");
  expect(message).toContain("mixed content");
  const plain = await failureOn("http://app.example", "http://data.example/bucket");
  expect(plain.message).not.toContain("mixed content");
});
