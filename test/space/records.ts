// A small dataset with a field of every kind that a page shows.
import { Dataset, Schema } from "../../src/index.ts";
import type { Backend } from "../../src/store/open.ts";

export const ORIGIN = 1_700_000_000_000_000_000n;

export const PNG = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3);
export const WAV = new TextEncoder().encode("RIFF\x08\0\0\0WAVEfmt ");
export const SVG = new TextEncoder().encode(
  `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
);

export const SCHEMA = () =>
  new Schema()
    .addImage("image", { mime: "png" })
    .addAudio("sound", { mime: "wav", required: false })
    .addEmbedding("v", { dim: 4, algorithm: "dreamdb.ivf-cosine" })
    .addScalarCategorical("label", { index: true })
    .addScalarInt("n");

export function record(n: number) {
  const angle = n / 10;
  return {
    _anchor: ORIGIN + BigInt(n),
    image: n === 3 ? SVG : PNG,
    ...(n % 2 === 0 ? { sound: WAV } : {}),
    v: Float32Array.of(Math.cos(angle), Math.sin(angle), 0.25, n % 3),
    label: n % 2 === 0 ? "even" : "odd",
    n,
  };
}

/** The branch `name` with records 0 to `count` − 1, its index built. */
export async function makeDataset(backend: Backend, name = "photos", count = 40) {
  const dataset = await Dataset.create(name, SCHEMA(), backend as string);
  await dataset.appendMany(Array.from({ length: count }, (_, n) => record(n)));
  await dataset.rebuildIvf({ field: "v", k: 4 });
  return dataset;
}
