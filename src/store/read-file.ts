import type { DirectoryIo, IoFile } from "./directory-io.ts";
import type { ByteRange } from "./store.ts";

/** Up to here a buffer of the wished length costs less than asking for the file's size first. */
const UNASKED_BYTES = 1 << 20;

/** Linux moves at most 2^31 − 4,096 bytes a call. */
const MAX_READ_BYTES = 1 << 30;

/** The file, or what it holds of `range`, in a buffer of its own. Throws the system's errors. */
export async function readFile(io: DirectoryIo, path: string, range?: ByteRange): Promise<Uint8Array> {
  const file = await io.open(path, "r");
  try {
    return await readOpenFile(file, range);
  } finally {
    await file.close();
  }
}

/** As `readFile`, but into `into` if that has room for the range; the caller closes the file. */
export async function readOpenFile(file: IoFile, range?: ByteRange, into?: Uint8Array): Promise<Uint8Array> {
  if (range !== undefined && into !== undefined && range.length <= into.length)
    return readAt(file, range, into.subarray(0, range.length));
  if (range !== undefined && range.length <= UNASKED_BYTES) return readAt(file, range);
  const { size } = await file.stat();
  const offset = Math.min(range?.offset ?? 0, size);
  return readAt(file, { offset, length: Math.min(range?.length ?? size, size - offset) });
}

async function readAt(
  file: IoFile,
  { offset, length }: ByteRange,
  bytes: Uint8Array = new Uint8Array(length),
): Promise<Uint8Array> {
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(
      bytes,
      done,
      Math.min(length - done, MAX_READ_BYTES),
      offset + done,
    );
    if (bytesRead === 0) return bytes.slice(0, done);
    done += bytesRead;
  }
  return bytes;
}
