// A directory as a public bucket: from pages of any origin anybody may read its keys, in ranges, and list them.
import { openStore } from "@dreamlake/dreamdb";

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, HEAD",
  "Access-Control-Allow-Headers": "Range, If-None-Match, Cache-Control",
  "Access-Control-Expose-Headers": "ETag, Content-Range, Content-Length",
  "Access-Control-Max-Age": "86400",
};
/** The most that one answer to a list tells, as with S3. */
const PAGE_KEYS = 1000;

/**
 * @param {string} directory what is served
 * @param {string} bucket under /bucket/
 * @returns {import("node:http").RequestListener}
 */
export function bucketHandler(directory, bucket) {
  const store = openStore(directory, { readOnly: true });
  return (request, response) => {
    const send = (status, headers = {}, body = "") => {
      response.writeHead(status, { ...CORS, "Content-Length": Buffer.byteLength(body), ...headers });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    answer(store, bucket, request, send).catch((error) => {
      // The store refuses names that no key can have.
      const isBad = error instanceof URIError || error.code === "InvalidName";
      send(isBad ? 400 : 500, XML, failure(isBad ? "InvalidRequest" : "InternalError"));
      if (!isBad) console.error(error);
    });
  };
}

async function answer(store, bucket, { method, url, headers }, send) {
  if (method === "OPTIONS") return send(204);
  if (method !== "GET" && method !== "HEAD") return send(405, XML, failure("MethodNotAllowed"));
  const { pathname, searchParams } = new URL(url, "http://bucket");
  const [name, ...rest] = pathname.slice(1).split("/");
  if (name !== bucket) return send(404, XML, failure("NoSuchBucket"));
  if (searchParams.get("list-type") === "2")
    return send(200, XML, await listing(store, bucket, searchParams));
  return value(store, decodeURIComponent(rest.join("/")), headers.range, send);
}

async function value(store, key, rangeHeader, send) {
  // The library asks for first and last byte; other forms are answered in full, as HTTP allows.
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(rangeHeader ?? "")?.map(Number) ?? [];
  const range = last >= first ? { offset: first, length: last - first + 1 } : undefined;
  const found = key === "" ? undefined : await store.get(key, range);
  if (found === undefined) return send(404, { ...XML, "Cache-Control": "no-store" }, failure("NoSuchKey"));
  const { bytes, etag } = found;
  const headers = {
    // Bytes, whatever they say: nothing in a bucket is to be run or shown as a page.
    "Content-Type": "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
    "Accept-Ranges": "bytes",
    ETag: `"${etag}"`,
    "Cache-Control": key.startsWith("objects/") ? "public, max-age=31536000, immutable" : "no-store",
  };
  if (range === undefined) return send(200, headers, bytes);
  if (bytes.length === 0) return send(416, headers);
  return send(206, { ...headers, "Content-Range": `bytes ${first}-${first + bytes.length - 1}/*` }, bytes);
}

/** ListObjectsV2 of S3, as far as the library needs it. A page goes on after the key that the last one ended with. */
async function listing(store, bucket, params) {
  const after = params.get("continuation-token") ?? "";
  const most = Math.min(Number(params.get("max-keys") ?? PAGE_KEYS), PAGE_KEYS);
  const keys = [];
  let isCut = false;
  for await (const { key, bytes } of store.list(params.get("prefix") ?? "")) {
    if (after !== "" && key <= after) continue;
    isCut = keys.length === most;
    if (isCut) break;
    keys.push({ key, bytes });
  }
  const contents = keys.map(
    ({ key, bytes }) => `<Contents><Key>${key}</Key><Size>${bytes}</Size></Contents>`,
  );
  const next = isCut ? `<NextContinuationToken>${keys.at(-1)?.key ?? after}</NextContinuationToken>` : "";
  return `${HEAD}<ListBucketResult><Name>${bucket}</Name>${contents.join("")}<IsTruncated>${isCut}</IsTruncated>${next}</ListBucketResult>`;
}

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>';
const XML = { "Content-Type": "application/xml" };

function failure(code) {
  return `${HEAD}<Error><Code>${code}</Code></Error>`;
}
