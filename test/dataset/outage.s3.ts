// A Ceph cluster that keeps its data on disk is killed in the middle of the work, and started again on what is left.
// It is one of this test's own, beside that of `npm run test:s3`.
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import "../../src/store/node.ts";
import { type Acknowledged, contendedSchema, contenders, expectAllIn, sumOfErrors } from "./contenders.ts";
import { rowsOf } from "./records.ts";

const KILLS = process.env.DREAMDB_TEST_FULL === "1" ? 10 : 2;
const WRITERS = 3;

const port = Number(process.env.RGW_PORT ?? 18480) + 20;
const env = {
  ...process.env,
  RGW_PORT: String(port),
  RGW_DIR: join(mkdtempSync(join(tmpdir(), "dreamdb-outage-")), "ceph"),
};
const endpoint = `http://127.0.0.1:${port}`;
const { append } = contenders();

function rgw(...args: string[]): void {
  const { status, stderr } = spawnSync("bash", ["scripts/rgw.sh", ...args], { env, encoding: "utf8" });
  if (status !== 0) throw new Error(`scripts/rgw.sh ${args.join(" ")}: ${stderr}`);
}

beforeAll(() => rgw("start", "--durable"), 180_000);
afterAll(() => rgw("stop"), 60_000);

test(
  `killed ${KILLS} times while ${WRITERS} processes append: what was acknowledged is there, and nothing else`,
  async () => {
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: "outage" }));
    client.destroy();
    const url = `${endpoint}/outage`;
    await Dataset.create("main", contendedSchema, url);

    const acknowledged: Acknowledged[] = [];
    const remote = { timeoutMs: 2_000, minDelayMs: 50, maxDelayMs: 500 };
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    const endings = Promise.all(
      Array.from({ length: WRITERS }, (_, w) =>
        append(url, `w${w}`, Number.MAX_SAFE_INTEGER, { remote }, (so) => acknowledged.push(so), over),
      ),
    );
    for (let kill = 0; kill < KILLS; kill++) {
      const before = acknowledged.length;
      while (acknowledged.length < before + 8) await new Promise((done) => setTimeout(done, 20));
      await new Promise((done) => setTimeout(done, Math.random() * 100));
      rgw("kill");
      const told = acknowledged.slice();
      rgw("revive");
      // What was acknowledged before the power went is on the disk.
      const rows = await rowsOf(await Dataset.open("main", url));
      const there = new Set(rows.map((row) => `${row.writer} ${row.n} ${row._anchor}`));
      expect(told.filter(({ writer, n, anchor }) => !there.has(`${writer} ${n} ${anchor}`))).toEqual([]);
      expect(await fsck(url)).toMatchObject({ ok: true, problems: [] });
    }
    end();
    const ends = await endings;
    process.stderr.write(
      `killed ${KILLS} times within ${acknowledged.length} appends; errors on the way: ${JSON.stringify(sumOfErrors(ends))}\n`,
    );
    await expectAllIn(url, ends);
  },
  300_000 + 150_000 * KILLS,
);
