import { objectKey } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { NewPage } from "../objects/index-tree.ts";
import type { Context } from "./context.ts";
import { inParallel } from "./session.ts";

/** Writes immutable objects; durable when it resolves. */
export async function putObjects(ctx: Context, objects: readonly NewPage[]): Promise<void> {
  await inParallel(objects, (object) => putObject(ctx, object));
}

/** No ref reaches the object yet, so when the backend can't tell whether it is there, still nothing is committed. */
export async function putObject(ctx: Context, { address, bytes }: NewPage): Promise<void> {
  try {
    await ctx.store.put(objectKey(address), bytes);
  } catch (error) {
    if (!isDreamDBError(error, "CommitUnknown")) throw error;
    throw new DreamDBError(
      "StoreUnavailable",
      `can't tell whether an object was stored, so nothing was published: ${error.message}`,
      {
        field: objectKey(address),
        retryable: true,
        committed: "no",
        cause: error,
        ...errnoIn(error),
      },
    );
  }
}

/** The system's code, such as EACCES, that an error of the backend carries on. */
export function errnoIn(cause: unknown): { errno?: string } {
  return isDreamDBError(cause) && cause.errno !== undefined ? { errno: cause.errno } : {};
}
