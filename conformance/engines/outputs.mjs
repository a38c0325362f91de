// The outputs of kernels as bytes to compare, for the recipes of the stress.

/** A recipe's run that offers rows to a top-k, and what it then holds. */
export function best(kernels, k, offer) {
  const topK = kernels.topK(k);
  return {
    run: () => {
      topK.reset();
      offer(topK);
    },
    result: () => {
      const { scores, ids } = topK.drain();
      return joined(scores, ids);
    },
    free: () => topK.free(),
  };
}

/** Copies f32 out of the compute core, as `floatBytes`. */
export function floats(kernels, pointer, count) {
  return floatBytes(kernels.f32(pointer, count).slice());
}

/** The bytes of f32, all NaN made one: engines differ in which NaN they make, and none is ever stored. */
export function floatBytes(values) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < values.length; i++) if (Number.isNaN(values[i])) bits[i] = 0x7fc00000;
  return bytesOf(values);
}

export function joined(...arrays) {
  const bytes = new Uint8Array(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const array of arrays) {
    bytes.set(bytesOf(array), at);
    at += array.byteLength;
  }
  return bytes;
}

export function bytesOf(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
