// What a server, a line or a caller can do to a request, and what each must come to.
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { DreamDBError } from "../../src/errors.ts";
import type { RemoteOptions } from "../../src/store/remote/options.ts";
import type { Store } from "../../src/store/store.ts";
import { refusal } from "../dataset/stores.ts";
import { fail, type Intervention, ObjectServer, type SeenRequest, withServer } from "./object-server.ts";
import { keysOf, OBJECT, OTHER_OBJECT, outcome, text, utf8 } from "./suite.ts";

const QUICK: RemoteOptions = {
  minDelayMs: 1,
  maxDelayMs: 5,
  timeoutMs: 300,
  deadlineMs: 5_000,
  onWarning: () => {},
};

const status =
  (code: number, name = "Broken", headers: Record<string, string> = {}): Intervention =>
  (_request, response) => {
    fail(response, code, name, headers);
    return true;
  };

/** The request is carried out, the answer never comes. */
const applied: Intervention = (_request, response, serve) => {
  const { socket } = response;
  response.writeHead = (() => response) as ServerResponse["writeHead"];
  response.end = (() => response) as ServerResponse["end"];
  serve();
  socket?.destroy();
  return true;
};
const cut: Intervention = (_request, response) => {
  response.socket?.destroy();
  return true;
};
const silence: Intervention = () => true;

/** What every transport must make of the faults; `make` opens a store over it. */
export function faultSuite(name: string, make: (url: string, options: RemoteOptions) => Store): void {
  describe(name, () => {
    const server = withServer();
    let bucket = 0;

    beforeEach(() => {
      bucket++;
      server.requests.length = 0;
    });

    afterEach(() => {
      server.intervene = undefined;
    });

    const open = (options: RemoteOptions = {}, base: ObjectServer = server): Store =>
      make(`${base.url}/b${bucket}`, { ...QUICK, ...options });

    /** A store whose probe is behind it, and the server's memory of requests empty. */
    async function warm(options: RemoteOptions = {}): Promise<Store> {
      const store = open(options);
      await store.put(OTHER_OBJECT, utf8("warm"));
      server.requests.length = 0;
      return store;
    }

    /** Gives `answer` to the first `times` requests with this method and key. */
    function meddle(method: string, key: string, times: number, answer: Intervention): void {
      let left = times;
      server.intervene = (request, response, serve) => {
        // The SDK says the operation's name in the query.
        const [path, query = ""] = request.path.split("?") as [string, string?];
        const isMeant = path.endsWith(key) || query.includes(key);
        if (request.method !== method || !isMeant || left-- <= 0) return false;
        return answer(request, response, serve);
      };
    }

    const sent = (method: string): SeenRequest[] => server.requests.filter((one) => one.method === method);

    describe("requests that may be repeated", () => {
      const faults: [string, Intervention][] = [
        ["500", status(500)],
        ["502", status(502)],
        ["503 SlowDown", status(503, "SlowDown")],
        ["504", status(504)],
        ["429", status(429)],
        ["408", status(408)],
        ["a cut connection", cut],
        ["silence", silence],
        [
          "half a body",
          (_request, response) => {
            response.writeHead(200, { "Content-Length": 10 });
            response.write("1234");
            setTimeout(() => response.socket?.destroy(), 20);
            return true;
          },
        ],
      ];

      test.each(faults)("%s: a get is tried again and comes through", async (_name, fault) => {
        const store = await warm();
        await store.put(OBJECT, utf8("0123456789"));
        meddle("GET", OBJECT, 2, fault);
        expect(text(await store.get(OBJECT, { offset: 0, length: 10 }))).toBe("0123456789");
        expect(sent("GET").length).toBe(3);
      });

      test.each(faults)("%s: it ends with the attempts", async (_name, fault) => {
        const store = await warm({ attempts: 2, timeoutMs: 100 });
        meddle("GET", OBJECT, 99, fault);
        expect(await refusal(() => store.get(OBJECT))).toMatchObject({
          code: "StoreUnavailable",
          retryable: true,
        });
        expect(sent("GET").length).toBe(2);
      });

      test.each(faults.slice(0, 8))("%s: an object is put again", async (_name, fault) => {
        const store = await warm();
        meddle("PUT", OBJECT, 2, fault);
        await store.put(OBJECT, utf8("x"));
        expect(sent("PUT").length).toBe(3);
        expect(text(await store.get(OBJECT))).toBe("x");
      });

      test("an object whose acknowledgement was lost is put again", async () => {
        const store = await warm();
        meddle("PUT", OBJECT, 1, applied);
        await store.put(OBJECT, utf8("x"));
        expect(sent("PUT").length).toBe(2);
      });

      test("pages of a list and removals of objects are asked for again", async () => {
        const store = await warm();
        meddle("GET", "prefix=", 2, status(503));
        expect(await keysOf(store)).toEqual([OTHER_OBJECT]);
        meddle("DELETE", OTHER_OBJECT, 2, status(503));
        await store.delete(OTHER_OBJECT);
        expect(await keysOf(store)).toEqual([]);
      });

      test.each([400, 401, 403, 405, 411, 413])("%d is not asked again", async (code) => {
        const store = await warm();
        meddle("PUT", OBJECT, 99, status(code));
        const error = await refusal(() => store.put(OBJECT, utf8("x")));
        expect(error).toMatchObject({ code: "StoreUnavailable", retryable: false, committed: "no" });
        expect(error.message).toContain(`${code} Broken, Broken it is`);
        expect(sent("PUT").length).toBe(1);
      });

      test("Retry-After is heeded, up to maxDelayMs", async () => {
        const store = await warm({ maxDelayMs: 200 });
        await store.put(OBJECT, utf8("x"));
        for (const [after, least, most] of [
          ["0", 0, 150],
          ["3600", 200, 1000],
          [new Date(Date.now() + 3_600_000).toUTCString(), 200, 1000],
          ["soon", 0, 150],
        ] as const) {
          meddle("GET", OBJECT, 1, status(503, "SlowDown", { "Retry-After": after }));
          const began = performance.now();
          await store.get(OBJECT);
          const ms = performance.now() - began;
          expect(ms).toBeGreaterThanOrEqual(least - 2);
          expect(ms).toBeLessThan(most);
        }
      });

      test("pauses are drawn at random up to a limit that doubles", async () => {
        const drawn: number[] = [];
        const times: number[] = [];
        const random = () => {
          drawn.push(1);
          return 0.999;
        };
        const store = await warm({ minDelayMs: 20, maxDelayMs: 100, random });
        drawn.length = 0;
        meddle("GET", OBJECT, 4, (_request, response) => {
          times.push(performance.now());
          fail(response, 503, "SlowDown");
          return true;
        });
        await store.get(OBJECT);
        expect(drawn.length).toBe(4);
        const pauses = times.slice(1).map((time, i) => time - times[i]!);
        expect(pauses[0]).toBeGreaterThanOrEqual(38);
        expect(pauses[1]).toBeGreaterThanOrEqual(78);
        expect(pauses[2]).toBeGreaterThanOrEqual(98);
        expect(pauses[2]).toBeLessThan(300);
      });

      test("the deadline holds across attempts", async () => {
        const store = await warm({ deadlineMs: 400, timeoutMs: 150, attempts: 99 });
        meddle("GET", OBJECT, 99, silence);
        const began = performance.now();
        expect(await outcome(store.get(OBJECT))).toBe("StoreUnavailable");
        expect(performance.now() - began).toBeLessThan(700);
      });

      test("a body that drips is let through while it moves, up to the deadline", async () => {
        const store = await warm({ timeoutMs: 100 });
        const drip: Intervention = (_request, response) => {
          response.writeHead(200, { "Content-Length": 10 });
          let left = 10;
          const timer = setInterval(() => {
            response.write("x");
            if (--left > 0) return;
            clearInterval(timer);
            response.end();
          }, 40);
          return true;
        };
        meddle("GET", OBJECT, 1, drip);
        expect(text(await store.get(OBJECT))).toBe("xxxxxxxxxx");
        meddle("GET", OBJECT, 9, drip);
        expect(await outcome((await warm({ timeoutMs: 100, deadlineMs: 200 })).get(OBJECT))).toBe(
          "StoreUnavailable",
        );
      });
    });

    describe("conditional puts are sent once", () => {
      async function swapping(fault: Intervention, options: RemoteOptions = {}) {
        const store = await warm(options);
        const { etag } = await store.put("refs/main", utf8("1"));
        server.requests.length = 0;
        meddle("PUT", "refs/main", 1, fault);
        const swap = () => store.put("refs/main", utf8("2"), { ifMatch: etag });
        return { store, error: await refusal(swap) };
      }

      test.each<[string, Intervention, string]>([
        ["500, not applied", status(500), "1"],
        ["503, not applied", status(503), "1"],
        ["a cut connection before", cut, "1"],
        ["a cut connection after", applied, "2"],
        ["silence", silence, "1"],
        [
          "500, applied",
          (request, response) => {
            server.write(request.path.split("?")[0] as string, request.body);
            fail(response, 500, "InternalError");
            return true;
          },
          "2",
        ],
      ])("%s: the outcome is unknown", async (_name, fault, left) => {
        const { store, error } = await swapping(fault);
        expect(error).toMatchObject({ code: "CommitUnknown", committed: "unknown", retryable: true });
        // With a code of the system the commit would not read back.
        expect(error.errno).toBeUndefined();
        expect(sent("PUT").length).toBe(1);
        expect(text(await store.get("refs/main"))).toBe(left);
      });

      test.each<[string, Intervention, Partial<DreamDBError>]>([
        ["412", status(412), { code: "Conflict" }],
        ["409", status(409, "ConditionalRequestConflict"), { code: "Conflict" }],
        ["404", status(404, "NoSuchKey"), { code: "Conflict" }],
        ["404 NoSuchBucket", status(404, "NoSuchBucket"), { code: "StoreUnavailable", retryable: false }],
        ["403", status(403, "AccessDenied"), { code: "StoreUnavailable", retryable: false }],
        ["429", status(429), { code: "StoreUnavailable", retryable: true }],
        ["501", status(501), { code: "UnsupportedBackend" }],
        ["301", status(301, "PermanentRedirect", { Location: "/elsewhere" }), { code: "StoreUnavailable" }],
      ])("%s: nothing happened", async (_name, fault, expected) => {
        const { error } = await swapping(fault);
        expect(error).toMatchObject({ ...expected, committed: "no" });
        expect(sent("PUT").length).toBe(1);
      });

      test("a server that isn't there took nothing", async () => {
        const gone = new ObjectServer();
        await gone.start();
        const store = open({ attempts: 2 }, gone);
        const { etag } = await store.put("refs/main", utf8("1"));
        await gone.stop();
        await new Promise((resolve) => setTimeout(resolve, 50));
        const error = await refusal(() => store.put("refs/main", utf8("2"), { ifMatch: etag }));
        expect(error.message).toContain("ECONNREFUSED");
        expect(error).toMatchObject({ code: "StoreUnavailable", committed: "no", retryable: true });
      });
    });

    describe("bodies", () => {
      test("a body longer than asked is cut off, and its transfer ended", async () => {
        const store = open();
        let written = 0;
        let isClosed = false;
        meddle("GET", OBJECT, 1, (_request, response) => {
          response.writeHead(200);
          response.on("close", () => {
            isClosed = true;
          });
          const more = (): void => {
            while (!response.destroyed && written < 1 << 28) {
              written += 1 << 16;
              if (!response.write(Buffer.alloc(1 << 16, 0x61))) {
                response.once("drain", more);
                return;
              }
            }
          };
          more();
          return true;
        });
        expect(text(await store.get(OBJECT, { offset: 1, length: 5 }))).toBe("aaaaa");
        await new Promise((resolve) => setTimeout(resolve, 100));
        expect(isClosed).toBe(true);
        expect(written).toBeLessThan(1 << 26);
      });

      test("a value beyond the length of any object is refused before it is read", async () => {
        const store = open();
        meddle("GET", OBJECT, 1, (_request, response) => {
          response.writeHead(200, { "Content-Length": 101 << 20 });
          response.write("x");
          return true;
        });
        expect(await outcome(store.get(OBJECT))).toBe("LimitExceeded");
      });

      test("another range than asked is refused", async () => {
        const store = open();
        meddle("GET", OBJECT, 1, (_request, response) => {
          response.writeHead(206, { "Content-Range": "bytes 0-4/100" }).end("01234");
          return true;
        });
        expect(await refusal(() => store.get(OBJECT, { offset: 5, length: 5 }))).toMatchObject({
          code: "StoreUnavailable",
          field: "Content-Range",
        });
      });

      test("less than the rest of the value counts as cut short", async () => {
        const store = open();
        server.write(`/b${bucket}/${OBJECT}`, utf8("0123456789"));
        meddle("GET", OBJECT, 1, (_request, response) => {
          response.writeHead(206, { "Content-Range": "bytes 0-3/10", "Content-Length": 4 }).end("0123");
          return true;
        });
        expect(text(await store.get(OBJECT, { offset: 0, length: 8 }))).toBe("01234567");
        expect(sent("GET").length).toBe(2);
      });

      test("a redirect is not followed", async () => {
        const store = open();
        meddle("GET", OBJECT, 9, (_request, response) => {
          response.writeHead(302, { Location: `${server.url}/elsewhere` }).end();
          return true;
        });
        expect(await refusal(() => store.get(OBJECT))).toMatchObject({
          code: "StoreUnavailable",
          retryable: false,
        });
        expect(sent("GET").length).toBe(1);
      });
    });

    describe("signals", () => {
      test("one that has fired already sends nothing", async () => {
        const store = await warm();
        const signal = AbortSignal.abort();
        for (const work of [
          () => store.get(OBJECT, undefined, { signal }),
          () => store.put(OBJECT, utf8("x"), undefined, { signal }),
          () => store.put("refs/a", utf8("x"), { create: true }, { signal }),
          () => store.delete(OBJECT, { signal }),
        ]) {
          expect(await refusal(work)).toMatchObject({ code: "Aborted", committed: "no" });
        }
        expect(server.requests).toEqual([]);
      });

      test.each<[string, (store: Store, signal: AbortSignal) => Promise<unknown>, string]>([
        ["get", (store, signal) => store.get(OBJECT, undefined, { signal }), "Aborted"],
        [
          "put of an object",
          (store, signal) => store.put(OBJECT, utf8("x"), undefined, { signal }),
          "Aborted",
        ],
        [
          "create",
          (store, signal) => store.put("refs/a", utf8("x"), { create: true }, { signal }),
          "CommitUnknown",
        ],
      ])("one that fires meanwhile ends a %s at once", async (_name, work, code) => {
        const store = await warm({ timeoutMs: 10_000, deadlineMs: 20_000 });
        server.intervene = silence;
        const ender = new AbortController();
        setTimeout(() => ender.abort(), 50);
        const began = performance.now();
        expect(await outcome(work(store, ender.signal))).toBe(code);
        expect(performance.now() - began).toBeLessThan(1000);
      });

      test("one that fires in a pause ends it", async () => {
        const store = await warm({
          minDelayMs: 5_000,
          maxDelayMs: 5_000,
          random: () => 0.9,
          deadlineMs: 60_000,
        });
        server.intervene = status(503);
        const ender = new AbortController();
        setTimeout(() => ender.abort(new Error("enough")), 50);
        const error = await refusal(() => store.get(OBJECT, undefined, { signal: ender.signal }));
        expect(error).toMatchObject({ code: "Aborted", message: expect.stringContaining("enough") });
      });
    });

    describe("connections", () => {
      test("they are kept, and no more are used than concurrency says", async () => {
        const store = await warm({ concurrency: 3 });
        let underWay = 0;
        let most = 0;
        server.intervene = (_request, _response, serve) => {
          most = Math.max(most, ++underWay);
          setTimeout(() => {
            underWay--;
            serve();
          }, 5);
          return true;
        };
        await Promise.all(Array.from({ length: 30 }, (_, i) => store.get(`objects/ab/k${i}`)));
        expect(most).toBe(3);
        const after = server.connections;
        for (let i = 0; i < 20; i++) await store.get(OBJECT);
        expect(server.connections).toBeLessThanOrEqual(after);
      });
    });

    describe("what caches may keep", () => {
      test("objects for ever, refs not at all", async () => {
        const store = await warm();
        await store.put(OBJECT, utf8("x"));
        await store.put("refs/a", utf8("x"), { create: true });
        expect(sent("PUT").map(({ headers }) => headers["cache-control"])).toEqual([
          "public, max-age=31536000, immutable",
          "no-store",
        ]);
      });
    });

    test.each([
      { concurrency: 0 },
      { attempts: Number.NaN },
      { minDelayMs: -1 },
      { timeoutMs: 2 ** 40 },
      { deadlineMs: "1" as never },
    ])("the limit %j is refused", async (options) => {
      const error = await refusal(() => make("http://h/b", options));
      expect(error).toMatchObject({ code: "InvalidArgument", field: Object.keys(options)[0] });
    });
  });
}
