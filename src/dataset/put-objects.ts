import { objectKey } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import type { NewPage } from "../objects/index-tree.ts";
import type { Context } from "./context.ts";
import { beginHolding } from "./holding.ts";
import { inParallel } from "./session.ts";

/** Writes immutable objects of an operation; durable when it resolves. The operation holds them until it is published. */
export async function putObjects(ctx: Context, objects: readonly NewPage[]): Promise<void> {
  await inParallel(objects, (object) => putObject(ctx, object));
}

export async function putObject(ctx: Context, object: NewPage): Promise<void> {
  await beginHolding(ctx);
  ctx.holding.puts.add(object.address);
  await storeObject(ctx, object);
}

/** Writes objects that are held already. */
export async function storeObjects(ctx: Pick<Context, "store">, objects: readonly NewPage[]): Promise<void> {
  await inParallel(objects, (object) => storeObject(ctx, object));
}

/** No ref reaches the object yet, so when the backend can't tell whether it is there, still nothing is committed. */
async function storeObject({ store }: Pick<Context, "store">, { address, bytes }: NewPage): Promise<void> {
  try {
    await store.put(objectKey(address), bytes);
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
