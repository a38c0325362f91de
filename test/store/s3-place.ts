/** Buckets on the S3 server that `npm run test:s3` has started. */
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { beforeAll } from "@jest/globals";

/** Where the server is; undefined when the tests run without one. */
export const S3_URL = process.env.DREAMDB_TEST_S3_URL;

export function s3Client(): S3Client {
  return new S3Client({ endpoint: requiredUrl(), region: "us-east-1", forcePathStyle: true });
}

/** A function that names new, empty places in a bucket of this test file's own. */
export function freshS3Places(): () => string {
  const bucket = `test-${crypto.randomUUID()}`;
  beforeAll(async () => {
    const client = s3Client();
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    client.destroy();
  });
  let places = 0;
  return () => `${requiredUrl()}/${bucket}/p${places++}`;
}

export function requiredUrl(): string {
  if (S3_URL !== undefined && S3_URL !== "") return S3_URL;
  throw new Error("DREAMDB_TEST_S3_URL names no S3 server; npm run test:s3 starts one");
}
