/** Adds paths, `file:` URLs and signed requests to `openStore`. Imported for its effect, by the Node entry only. */
import { fileURLToPath } from "node:url";
import { DreamDBError } from "../errors.ts";
import { directoryStore } from "./directory.ts";
import { registerBackend } from "./open.ts";
import { remoteStore } from "./remote/s3.ts";

registerBackend("file", (address) => directoryStore(pathOf(address)));
for (const scheme of ["http", "https", "s3"]) registerBackend(scheme, remoteStore);

function pathOf(address: string): string {
  if (!/^file:/i.test(address)) return address;
  try {
    return fileURLToPath(address);
  } catch (cause) {
    throw new DreamDBError("InvalidArgument", "not a file URL of this machine", {
      field: "backend",
      found: address,
      expected: "file:///absolute/path",
      cause,
    });
  }
}
