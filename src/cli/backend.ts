/** From `--backend` and a name to an open dataset. */
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { Dataset, DreamDBError, isDreamDBError, openStore } from "../index.node.ts";

export const DEFAULT_BACKEND = "./dreamdb";

/**
 * The store, for commands that only make sense where one is already. A mistyped path would otherwise pass for
 * an empty store: "no refs", "no damage". Errors: `NotFound` when the directory isn't there.
 */
export async function existingBackend(backend: string): Promise<string> {
  const { url } = openStore(backend);
  if (!url.startsWith("file:")) return backend;
  const found = await stat(fileURLToPath(url)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new DreamDBError("StoreUnavailable", "the backend can't be reached", {
      field: "backend",
      found: backend,
      errno: error.code ?? "EIO",
      cause: error,
    });
  });
  if (found?.isDirectory()) return backend;
  throw new DreamDBError("NotFound", "there is no such directory", {
    field: "backend",
    found: backend,
    expected: "the directory of a store (--backend, or DREAMDB_BACKEND)",
  });
}

/** The dataset that a command names: a ref, or with --manifest one state. */
export async function openDataset(
  name: string | undefined,
  manifest: string | undefined,
  backend: string,
): Promise<Dataset> {
  if ((name === undefined) === (manifest === undefined)) {
    throw new DreamDBError("InvalidArgument", "name a dataset, or give --manifest", {
      field: "name",
      found: name === undefined ? "neither" : "both",
      expected: "one of the two",
    });
  }
  const existing = await existingBackend(backend);
  return name === undefined ? Dataset.openAt(manifest as string, existing) : Dataset.open(name, existing);
}

/** For a dry run. Errors: `InvalidName`, `AlreadyExists` as the creation of such a ref would end. */
export async function checkFreeName(name: string, backend: string): Promise<void> {
  const taken = await Dataset.open(name, backend).then(
    () => true,
    (error: unknown) => {
      if (isDreamDBError(error, "NotFound") && error.field === "name") return false;
      throw error;
    },
  );
  // One that was deleted is not given again.
  if (!taken && (await openStore(backend).get(`refs/${name}`)) === undefined) return;
  throw new DreamDBError("AlreadyExists", "a dataset, branch or snapshot has, or had, this name", {
    field: "name",
    found: name,
    expected: "a new name",
  });
}
