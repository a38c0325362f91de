// Inputs that recipes make of those they are given.

/** Copies `count` f32, times the power of two that leaves none at 2 or above and the greatest, if it can, at 1/2 or more. */
export function scaledRows(kernels, pointer, count) {
  const values = kernels.f32(pointer, count).slice();
  const exponents = new Uint32Array(values.buffer).map((word) => (word >>> 23) & 255);
  const greatest = exponents.reduce((most, exponent) => Math.max(most, exponent), 0);
  // Exponents with their bias of 127, of which 0 and below would be no power of two.
  const factor = new Float32Array(Uint32Array.of(Math.max(1, 253 - greatest) << 23).buffer)[0];
  return values.map((value) => value * factor);
}

/** Blocks of the compute core that a recipe frees together. */
export function blocks(kernels) {
  const owned = [];
  const keep = (pointer) => {
    owned.push(pointer);
    return pointer;
  };
  return {
    copyIn: (values) => keep(kernels.copyIn(values)),
    /** Zeroed, so that what a kernel leaves alone is the same everywhere. */
    room: (bytes) => keep(kernels.copyIn(new Uint8Array(bytes))),
    free: () => {
      for (const pointer of owned) kernels.free(pointer);
    },
  };
}
