// What buckets let whom do, on the Ceph gateway and on Swift, as `npm run test:s3` has started them. The policies and the
// CORS rules are those of docs/storage.md, read from there.
import { readFileSync } from "node:fs";
import {
  CreateBucketCommand,
  PutBucketCorsCommand,
  PutBucketPolicyCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { openStore } from "../../src/store/open.ts";
import { httpStore } from "../../src/store/remote/http.ts";
import { s3Store } from "../../src/store/remote/s3.ts";
import "../../src/store/node.ts";
import { refusal } from "../dataset/stores.ts";
import { requiredUrl, s3Client } from "./s3-place.ts";
import { OBJECT, text, utf8 } from "./suite.ts";

const schema = new Schema().addScalarInt("n");
const environment = { ...process.env };

afterEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, environment);
});

function withoutCredentials(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith("AWS_")) delete process.env[name];
  Object.assign(process.env, {
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/nonexistent",
    AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
  });
}

/** The n-th JSON block of the document that follows the heading, for the bucket. */
function pasted(heading: string, bucket: string): string {
  const document = readFileSync("docs/storage.md", "utf8");
  const section = document.slice(document.indexOf(`\n### ${heading}\n`));
  const block = /```json\n([\s\S]*?)```/.exec(section)?.[1];
  if (block === undefined) throw new Error(`docs/storage.md has no JSON under "${heading}"`);
  return block.replaceAll("my-bucket", bucket);
}

async function makeBucket(policy?: string): Promise<{ bucket: string; url: string; client: S3Client }> {
  const client = s3Client();
  const bucket = `test-${crypto.randomUUID()}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  if (policy !== undefined) {
    await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: pasted(policy, bucket) }));
  }
  return { bucket, url: `${requiredUrl()}/${bucket}`, client };
}

const quiet = { onWarning: () => {} };

describe("a bucket that anybody may read", () => {
  let url = "";
  beforeAll(async () => {
    ({ url } = await makeBucket("A public bucket"));
    const dataset = await Dataset.create("main", schema, url);
    await dataset.appendMany([{ n: 1 }, { n: 2 }]);
  });

  test("is written signed, by the environment alone, and read unsigned", async () => {
    withoutCredentials();
    const reader = await Dataset.open("main", url);
    expect(await reader.count()).toBe(2);
    expect(await fsck(url)).toMatchObject({ ok: true, rows: 2 });
    expect(await refusal(() => Dataset.open("none", url))).toMatchObject({ code: "NotFound" });
  });

  test("is not written unsigned", async () => {
    const reader = await Dataset.open("main", url, { remote: { sign: false, ...quiet } });
    expect(await refusal(() => reader.appendMany([{ n: 3 }]))).toMatchObject({
      code: "StoreUnavailable",
      committed: "no",
      message: expect.stringContaining("403"),
    });
  });

  test("is the same as s3://, which takes the endpoint from the environment", async () => {
    const address = `s3://${url.split("/").at(-1)}`;
    expect(openStore(address).url).toBe(address);
    expect(await (await Dataset.open("main", address)).count()).toBe(2);
  });
});

test("a bucket that anybody may get from but not list: what is missing is NotFound, what is there is read", async () => {
  const { bucket, url, client } = await makeBucket();
  const Policy = JSON.stringify({
    Version: "2012-10-17",
    Statement: [
      { Effect: "Allow", Principal: "*", Action: "s3:GetObject", Resource: `arn:aws:s3:::${bucket}/*` },
    ],
  });
  await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy }));
  await s3Store(url).put(OBJECT, utf8("x"));
  const store = httpStore(url);
  expect(text(await store.get(OBJECT))).toBe("x");
  expect(await store.get("refs/none")).toBeUndefined();
  expect(await refusal(() => Dataset.open("none", url, { remote: { sign: false } }))).toMatchObject({
    code: "NotFound",
  });
});

test("a bucket that anybody may write works unsigned, compare-and-swap and all", async () => {
  const { url } = await makeBucket("A bucket that anybody may write");
  const remote = { sign: false, ...quiet };
  const one = await Dataset.create("main", schema, url, { remote });
  const two = await Dataset.open("main", url, { remote });
  await Promise.all([one.appendMany([{ n: 1 }]), two.appendMany([{ n: 2 }])]);
  await one.refresh();
  expect(await one.count()).toBe(2);
});

test("it keeps to the HTTP vectors", async () => {
  const path = "../../conformance/http.mjs";
  const { runHttp } = await import(path);
  const { url } = await makeBucket("A bucket that anybody may write");
  const results: { name: string; error?: string }[] = await runHttp({ url: `${url}/some/prefix` });
  expect(results.filter(({ error }) => error !== undefined)).toEqual([]);
  expect(results.length).toBeGreaterThan(10);
}, 60_000);

test("browsers of other sites may read, and see the headers they need", async () => {
  const { bucket, url, client } = await makeBucket("A public bucket");
  const CORSConfiguration = { CORSRules: JSON.parse(pasted("CORS", bucket)).CORSRules };
  await client.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration }));
  await s3Store(url).put(OBJECT, utf8("0123456789"));
  const asked = await fetch(`${url}/${OBJECT}`, {
    method: "OPTIONS",
    headers: {
      Origin: "https://app.example.org",
      "Access-Control-Request-Method": "GET",
      "Access-Control-Request-Headers": "range",
    },
  });
  expect(asked.status).toBe(200);
  expect(asked.headers.get("access-control-allow-headers")?.toLowerCase()).toContain("range");
  const answer = await fetch(`${url}/${OBJECT}`, {
    headers: { Origin: "https://app.example.org", Range: "bytes=2-3" },
  });
  expect(answer.status).toBe(206);
  expect(answer.headers.get("access-control-allow-origin")).toMatch(/^(\*|https:\/\/app\.example\.org)$/);
  const exposed = answer.headers.get("access-control-expose-headers")?.toLowerCase() ?? "";
  for (const name of ["etag", "content-range", "content-length"]) expect(exposed).toContain(name);
});

describe("what goes wrong with credentials", () => {
  test("a wrong secret is told, not taken for a missing key", async () => {
    const { url } = await makeBucket();
    process.env.AWS_SECRET_ACCESS_KEY = "wrong";
    expect(await refusal(() => Dataset.open("main", url))).toMatchObject({
      code: "StoreUnavailable",
      retryable: false,
      message: expect.stringContaining("SignatureDoesNotMatch"),
    });
  });

  test("an unknown key is told as well", async () => {
    const { url } = await makeBucket();
    process.env.AWS_ACCESS_KEY_ID = "nobody";
    expect(await refusal(() => s3Store(url).get(OBJECT))).toMatchObject({
      code: "StoreUnavailable",
      message: expect.stringContaining("InvalidAccessKeyId"),
    });
  });

  test("none at all", async () => {
    const { url } = await makeBucket();
    withoutCredentials();
    expect(await refusal(() => s3Store(url).get(OBJECT))).toMatchObject({
      code: "StoreUnavailable",
      field: "credentials",
    });
  });

  test("a bucket that does not exist", async () => {
    const url = `${requiredUrl()}/no-such-bucket-${crypto.randomUUID()}`;
    for (const store of [s3Store(url), httpStore(url, quiet)]) {
      expect(await refusal(() => store.get(OBJECT))).toMatchObject({
        code: "StoreUnavailable",
        message: expect.stringContaining("bucket does not exist"),
      });
    }
    expect(await refusal(() => Dataset.create("main", schema, url))).toMatchObject({
      code: "StoreUnavailable",
    });
  });
});

describe("Swift, which answers 501 to conditional puts", () => {
  const swift = JSON.parse(process.env.DREAMDB_TEST_SWIFT ?? "{}") as Record<string, string>;
  let url = "";
  beforeAll(async () => {
    if (swift.AWS_ENDPOINT_URL === undefined)
      throw new Error("DREAMDB_TEST_SWIFT says nothing; npm run test:s3 starts it");
    const bucket = `test-${crypto.randomUUID()}`;
    const credentials = {
      accessKeyId: swift.AWS_ACCESS_KEY_ID as string,
      secretAccessKey: swift.AWS_SECRET_ACCESS_KEY as string,
    };
    const endpoint = swift.AWS_ENDPOINT_URL;
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    url = `${endpoint}/${bucket}`;
  });

  test("is refused for writing", async () => {
    Object.assign(process.env, swift);
    expect(await refusal(() => Dataset.create("main", schema, url))).toMatchObject({
      code: "UnsupportedBackend",
      committed: "no",
      message: expect.stringContaining("singleWriter: true"),
    });
  });

  test("takes a single writer, and readers", async () => {
    Object.assign(process.env, swift);
    const dataset = await Dataset.create("main", schema, { backend: url, singleWriter: true });
    await dataset.appendMany([{ n: 1 }]);
    await dataset.appendMany([{ n: 2 }]);
    expect(await (await Dataset.open("main", url)).count()).toBe(2);
    expect(await fsck(url)).toMatchObject({ ok: true, rows: 2 });
  });
});
