// Where the datasets of a run lie: directories behind a server of the test's own, or buckets of a Ceph gateway.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CreateBucketCommand,
  PutBucketCorsCommand,
  PutBucketPolicyCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import { directoryStore, openStore } from "../../build/lib/index.node.js";
import { startBuckets } from "./bucket.mjs";

/** Buckets below `base`, which anybody may read and write, served with any fault that a test wants. */
export async function servedPlace(base) {
  const stores = new Map();
  const storeOf = (bucket) => {
    if (!/^[a-z0-9-]+$/.test(bucket)) throw new Error(`no such bucket: ${bucket}`);
    if (!stores.has(bucket)) stores.set(bucket, directoryStore(join(base, bucket)));
    return stores.get(bucket);
  };
  const server = await startBuckets(storeOf);
  let made = 0;
  return {
    kind: "served",
    origin: server.url,
    storeOf,
    faults: server.faults,
    requests: server.requests,
    newBucket: () => `bucket-${++made}`,
    urlOf: (bucket) => `${server.url}/${bucket}`,
    /** For a process of its own, which opens it by this. */
    addressOf: (bucket) => join(base, bucket),
    /** Puts other bytes in the place of an object, which no store does. */
    overwrite: async (bucket, key, bytes) => {
      const path = join(base, bucket, key);
      rmSync(path, { force: true });
      writeFileSync(path, bytes);
    },
    close: () => server.close(),
  };
}

/**
 * Datasets in four buckets of the gateway that AWS_* name, which policies and CORS rules of the documents open to pages:
 * `read` to read, `write` to write too; `private` has the rules alone and `hidden` the policy alone.
 */
export async function cephPlace() {
  const endpoint = process.env.AWS_ENDPOINT_URL;
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true });
  const run = crypto.randomUUID().slice(0, 8);
  const [publicRead, pagesWrite] = ["A public bucket", "A bucket that anybody may write"];
  const reading = ["docs/storage.md", "CORS"];
  await Promise.all([
    makeBucket("read", publicRead, reading),
    makeBucket("write", pagesWrite, ["docs/browser.md", "Pages that write"]),
    makeBucket("private", undefined, reading),
    makeBucket("hidden", publicRead, undefined),
  ]);
  client.destroy();
  const stores = new Map();
  let made = 0;

  async function makeBucket(kind, policy, cors) {
    const Bucket = bucketOf(kind);
    await client.send(new CreateBucketCommand({ Bucket }));
    const pasted = (document, heading) => jsonBelow(document, heading).replaceAll("my-bucket", Bucket);
    if (policy !== undefined)
      await client.send(new PutBucketPolicyCommand({ Bucket, Policy: pasted("docs/storage.md", policy) }));
    if (cors !== undefined) {
      const CORSConfiguration = JSON.parse(
        pasted(...cors).replaceAll("https://app.example.org", "http://127.0.0.1:*"),
      );
      await client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration }));
    }
  }
  function bucketOf(kind) {
    return `page-${run}-${kind}`;
  }
  function urlOf(name) {
    const [kind, dataset] = name.split(".");
    return `${endpoint}/${bucketOf(kind)}/${dataset}`;
  }
  function storeOf(name) {
    if (!stores.has(name)) stores.set(name, openStore(urlOf(name), { sign: true }));
    return stores.get(name);
  }
  return {
    kind: "ceph",
    origin: endpoint,
    storeOf,
    urlOf,
    addressOf: urlOf,
    newBucket: (kind) => `${kind}.d${++made}`,
    overwrite: (name, key, bytes) => storeOf(name).put(key, bytes),
    close: () => Promise.all([...stores.values()].map((store) => store.close?.())),
  };
}

/** The first JSON block of a document below a heading: what readers are told to paste. */
function jsonBelow(document, heading) {
  const text = readFileSync(document, "utf8");
  const at = text.search(new RegExp(`^#+ ${heading}$`, "m"));
  const block = at < 0 ? undefined : /```json\n([\s\S]*?)```/.exec(text.slice(at))?.[1];
  if (block === undefined) throw new Error(`${document} has no JSON under "${heading}"`);
  return block;
}
