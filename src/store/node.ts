/** Adds paths and `file:` URLs to `openStore`. Imported for its effect, by the Node entry only. */
import { fileURLToPath } from "node:url";
import { DreamDBError } from "../errors.ts";
import { directoryStore } from "./directory.ts";
import { registerBackend } from "./open.ts";

registerBackend("file", (address) => directoryStore(pathOf(address)));

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
