// Signed S3 against the Ceph gateway that `npm run test:s3` starts.
import { s3Store } from "../../src/store/remote/s3.ts";
import { freshS3Places } from "./s3-place.ts";
import { storeSuite } from "./suite.ts";

const freshPlace = freshS3Places();

storeSuite(
  "s3, Ceph",
  () => {
    const url = freshPlace();
    return { open: () => s3Store(url) };
  },
  // The place takes "p", up to four digits and a slash.
  {
    reopens: true,
    copiesAtOnce: false,
    tagsFromBytes: true,
    mayNotKnow: true,
    ignoresTagTails: true,
    maxKeyBytes: 1018,
  },
);
