// A bucket for one measurement: anybody may read it, who has AWS_* credentials may write it.
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import * as sdk from "@aws-sdk/client-s3";

/** @returns {Promise<{ name: string, url: string, putFiles: (directory: string, prefix: string) => Promise<void>, remove: () => Promise<void> }>} */
export async function publicBucket(endpoint) {
  const client = new sdk.S3Client({ endpoint, forcePathStyle: true });
  const name = `bench-${crypto.randomUUID()}`;
  await client.send(new sdk.CreateBucketCommand({ Bucket: name }));
  const allow = (Action, Resource) => ({ Effect: "Allow", Principal: "*", Action, Resource });
  const Statement = [
    allow(["s3:GetObject"], `arn:aws:s3:::${name}/*`),
    allow(["s3:ListBucket"], `arn:aws:s3:::${name}`),
  ];
  const Policy = JSON.stringify({ Version: "2012-10-17", Statement });
  await client.send(new sdk.PutBucketPolicyCommand({ Bucket: name, Policy }));
  return {
    name,
    url: `${endpoint}/${name}`,
    /** Every file below a directory, under `prefix`. */
    async putFiles(directory, prefix) {
      for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue;
        const path = join(entry.parentPath, entry.name);
        const Key = `${prefix}/${relative(directory, path)}`;
        await client.send(new sdk.PutObjectCommand({ Bucket: name, Key, Body: await readFile(path) }));
      }
    },
    async remove() {
      for (;;) {
        const { Contents = [] } = await client.send(new sdk.ListObjectsV2Command({ Bucket: name }));
        if (Contents.length === 0) break;
        for (const { Key } of Contents) await client.send(new sdk.DeleteObjectCommand({ Bucket: name, Key }));
      }
      await client.send(new sdk.DeleteBucketCommand({ Bucket: name }));
      client.destroy();
    },
  };
}

/** Every key of one store of this library to another. */
export async function copyStore(from, to) {
  for await (const { key } of from.list("")) await to.put(key, (await from.get(key)).bytes);
}
