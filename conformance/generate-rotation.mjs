// Writes rotation.json: vectors and what the rotation ahead of RaBitQ codes makes of them.
import { floats, hex, rotation, rows, seedOf } from "./training.mjs";
import { writeVectors } from "./write-vectors.mjs";

const cases = [1, 2, 3, 16, 17, 100, 128, 129, 192, 200, 256, 300, 520].map((dim, i) => {
  const seed = seedOf(i);
  const rotate = rotation(dim, seed);
  const axis = Float32Array.from({ length: dim }, (_, j) => (j === dim - 1 ? 1 : 0));
  const vectors = [axis, ...rows(2, dim, 5), ...rows(11, dim, 5).slice(10)].map((y) => ({
    y: floats(y),
    z: floats(rotate(y)),
  }));
  return {
    dim,
    padded: vectors[0].z.length / 8,
    rotation: dim <= 128 ? "dense" : "hadamard",
    seed: hex(seed),
    vectors,
  };
});
writeVectors("rotation.json", {
  about:
    "The rotation of dim components into `padded` ahead of RaBitQ codes. y and z are the hex of little-endian f32.",
  cases,
});
