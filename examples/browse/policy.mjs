// The Content-Security-Policy of the page: in the built page as a meta element, and for hosts and tests to send as a header.

/** Where data may come from by default: which bucket is opened is the visitor's choice. Hosts narrow it to their own. */
export const ANY_BUCKET = ["https:", "http://127.0.0.1:*", "http://localhost:*"];

/** @param buckets origins, such as https://data.example.org */
export function contentSecurityPolicy(buckets = ANY_BUCKET) {
  return [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob:",
    "media-src blob:",
    `connect-src 'self' ${buckets.join(" ")}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}
