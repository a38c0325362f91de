/** What a failure means for whoever opened the page. The library's own words are always shown beside it. */
import { isDreamDBError } from "@dreamlake/dreamdb/space";

export interface Advice {
  title: string;
  /** The error as the library tells it. */
  message: string;
  code: string | undefined;
  todo: readonly string[];
  isRetryable: boolean;
}

export function adviceFor(error: unknown): Advice {
  const message = error instanceof Error ? error.message : String(error);
  if (!isDreamDBError(error))
    return { title: "Something went wrong", message, code: undefined, todo: [], isRetryable: true };
  return { ...meaning(error.code, message), message, code: error.code, isRetryable: error.retryable };
}

function meaning(code: string, message: string): Pick<Advice, "title" | "todo"> {
  switch (code) {
    case "StoreUnavailable":
      if (message.includes("denies access"))
        return {
          title: "The bucket denies access",
          todo: [
            "It answered 403: this page's requests are unsigned, so objects must be readable by anyone.",
            "On S3, allow s3:GetObject for everyone on the bucket's objects, and check “Block public access”.",
            "Where keys can't be listed, a name that does not exist is answered with 403 too: check the name.",
          ],
        };
      if (message.includes("CORS"))
        return {
          title: "No answer that this page may read",
          todo: [
            `Allow this page's origin, ${location.origin}, in the bucket's CORS rules: method GET, header Range; expose ETag, Content-Range and Content-Length.`,
            "Check that the server runs, and that the address does not redirect.",
            ...(location.protocol === "https:"
              ? ["A page that came by https can't read from an http address."]
              : []),
            "Whoever hosts this page may have narrowed the origins that it can connect to.",
          ],
        };
      return {
        title: "The bucket does not answer as it should",
        todo: ["Try again in a while; check the connection."],
      };
    case "NotFound":
      return {
        title: "Nothing there",
        todo: [
          "Check the address: it ends with /refs/ and the name of a branch or snapshot.",
          "The backend is what stands before /refs/: bucket and prefix, if any.",
        ],
      };
    case "InvalidUri":
    case "InvalidName":
    case "UnsupportedBackend":
      return {
        title: "Not an address of a dataset",
        todo: [
          "It looks like https://host/bucket/refs/name, or https://host/bucket/objects/ab/… for one state for good.",
        ],
      };
    case "NonCanonical":
    case "Corrupt":
    case "InvalidAddress":
      return {
        title: "Something else than a dataset",
        todo: [
          "The server answered, but not with a ref of a dataset: a login page, an index page, or another file.",
        ],
      };
    case "HashMismatch":
      return {
        title: "The bytes are not those that were written",
        todo: ["They were read twice. Ask whoever keeps the bucket to check it: dreamdb fsck."],
      };
    case "UnsupportedVersion":
      return {
        title: "Written by a later version",
        todo: ["This page's copy of the library is too old for it."],
      };
    case "RefRollback":
      return {
        title: "The bucket shows an older state than before",
        todo: ["A cache or mirror may be behind. Try again."],
      };
    case "Aborted":
      return {
        title: "What reads the bucket has ended",
        todo: [
          "Browsers end a page's worker when memory runs short: close other pages. Try again starts another.",
        ],
      };
    case "OutOfMemory":
      return {
        title: "Not enough memory",
        todo: ["Close other pages, or ask for fewer results."],
      };
    default:
      return { title: "That did not work", todo: [] };
  }
}
