// Many processes, one ref, and a line that goes wrong, on the Ceph gateway that `npm run test:s3` has started.
// `npm run test:s3 -- --full` has 16 processes append 50 times each.
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import "../../src/store/node.ts";
import { freshS3Places } from "../store/s3-place.ts";
import { type Fault, TcpProxy } from "../store/tcp-proxy.ts";
import { contendedSchema, contenders, type Ending, expectAllIn, sumOfErrors } from "./contenders.ts";

const IS_FULL = process.env.DREAMDB_TEST_FULL === "1";
const [WRITERS, TIMES] = IS_FULL ? [16, 50] : [4, 10];

const freshPlace = freshS3Places();
const { append } = contenders();

function told(name: string, began: number, endings: Ending[]): void {
  const ms = endings.flatMap(({ acknowledged }) => acknowledged.map((one) => one.ms)).sort((a, b) => a - b);
  const at = (share: number) => ms[Math.min(ms.length - 1, Math.floor(ms.length * share))];
  const errors = JSON.stringify(sumOfErrors(endings));
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stderr.write(
    `${name}: ${seconds} s; an append took ${at(0.5)} ms at the median, ${at(0.99)} at p99; errors on the way: ${errors}\n`,
  );
}

test(
  `${WRITERS} processes × ${TIMES} appends to one ref: all are in, each once, in one line`,
  async () => {
    const url = freshPlace();
    await Dataset.create("main", contendedSchema, url);
    const began = performance.now();
    const endings = await Promise.all(Array.from({ length: WRITERS }, (_, w) => append(url, `w${w}`, TIMES)));
    told(`${WRITERS} × ${TIMES}`, began, endings);
    await expectAllIn(url, endings, TIMES);
    // Nobody is starved: not one gave up after the retries that are the default.
    expect(sumOfErrors(endings)).toEqual({});
  },
  IS_FULL ? 900_000 : 90_000,
);

describe("through a line that", () => {
  let proxy: TcpProxy;
  const freshProxied = freshS3Places();
  beforeAll(async () => {
    proxy = new TcpProxy(new URL(freshProxied()).origin);
    await proxy.start();
  });
  afterAll(() => proxy.stop());

  const seeded = (seed: number, below: number): number => ((seed * 48271 + 11) % 2147483647) % below;
  // Signed requests have some 700 bytes of headers, answers some 300.
  const lines: [string, (connection: number) => Fault][] = [
    ["cuts requests short", (i) => (i % 3 === 0 ? {} : { cutAfterSent: 100 + seeded(i, 6000) })],
    ["cuts answers short", (i) => (i % 3 === 0 ? {} : { cutAfterReceived: 1 + seeded(i, 2500) })],
    ["falls silent", (i) => (i % 3 === 0 ? {} : { silentAfterReceived: seeded(i, 2500) })],
    ["is slow", () => ({ delayMs: 30 })],
  ];
  test.each(lines)(
    "%s, nothing is lost and nothing doubled",
    async (name, fault) => {
      const place = freshProxied();
      await Dataset.create("main", contendedSchema, place);
      const url = place.replace(new URL(place).origin, proxy.url);
      proxy.fault = fault;
      const before = proxy.faults;
      const times = IS_FULL ? 100 : 12;
      const began = performance.now();
      const remote = { timeoutMs: 700, minDelayMs: 10, maxDelayMs: 100 };
      const endings = await Promise.all([0, 1].map((w) => append(url, `w${w}`, times, { remote })));
      told(`${name}, ${proxy.faults - before} connections ended`, began, endings);
      await expectAllIn(place, endings, times);
      if (name !== "is slow") expect(proxy.faults - before).toBeGreaterThan(5);
    },
    IS_FULL ? 600_000 : 90_000,
  );
});
