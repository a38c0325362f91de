// Datasets of the tests beside those that prepare/ makes: many records, hostile ones, and one that grows meanwhile.
import { Dataset, directoryStore, Schema } from "@dreamlake/dreamdb";
import { encode } from "fast-png";

const ORIGIN = 1_700_000_000_000_000_000n;

/** A picture of one colour. */
function plain(n) {
  const data = new Uint8Array(16 * 16 * 3);
  for (let i = 0; i < data.length; i += 3) data.set([n & 255, (n >> 4) & 255, (n * 37) & 255], i);
  return encode({ width: 16, height: 16, channels: 3, data });
}

/** No vectors, no title, no map: a dataset that only has pictures and two scalars. */
export async function makeMany(folder, rows) {
  const schema = new Schema().addImage("photo", { mime: "png" }).addScalarInt("n").addScalarBool("even");
  const dataset = await Dataset.create("many", schema, directoryStore(folder));
  const pictures = Array.from({ length: 64 }, (_, i) => plain(i * 31));
  await dataset.appendMany(
    Array.from({ length: rows }, (_, n) => ({
      _anchor: ORIGIN + BigInt(n) * 1000n,
      photo: pictures[n % 64],
      n,
      even: n % 2 === 0,
    })),
  );
  await dataset.close();
}

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script><image href="https://evil.example/i"/></svg>`;
const HTML = `<!doctype html><script>alert(1)</script><img src="https://evil.example/h">`;

/** Names that would be markup, addresses, scripts or other text in a careless page. */
export const HOSTILE = [
  `<img src=x onerror=alert(1)>`,
  `"><script>alert(1)</script>`,
  `javascript:alert(1)`,
  `data:text/html,<script>alert(1)</script>`,
  `https://evil.example/track.png`,
  `\u202Egnp.tac\u202C of another direction \u2066`,
  `url(https://evil.example/x.css)`,
  `{{constructor.constructor('alert(1)')()}}`,
  `__proto__`,
  `${"very long ".repeat(60)}`,
  `&lt;b&gt;&amp;#x3c;`,
  `\u0007\u200b\ufeff control`,
];

/** Text in names and categories; markup where pictures should be. */
export async function makeHostile(folder) {
  const schema = new Schema()
    .addImage("image", { mime: "png" })
    .addScalarString("name")
    .addScalarCategorical("category")
    .addScalarString("onclick")
    .addEmbedding("look", { dim: 320, algorithm: "dreamdb.ivf-cosine" })
    .addScalarFloat("map_x")
    .addScalarFloat("map_y");
  const dataset = await Dataset.create("hostile", schema, directoryStore(folder));
  const media = [
    plain(9),
    new TextEncoder().encode(SVG),
    new TextEncoder().encode(HTML),
    new Uint8Array([0xff]),
  ];
  await dataset.appendMany(
    HOSTILE.map((text, n) => ({
      _anchor: ORIGIN + BigInt(n),
      image: media[n % media.length],
      name: text,
      category: text,
      onclick: text,
      look: Float32Array.from({ length: 320 }, (_, i) => Math.sin(n + i)),
      map_x: Math.cos(n),
      map_y: Math.sin(n),
    })),
  );
  await dataset.close();
}

/** A small one, and a way to append to it. */
export async function makeGrowing(folder) {
  const schema = new Schema()
    .addScalarString("title")
    .addScalarCategorical("kind")
    .addEmbedding("vector", { dim: 8, algorithm: "dreamdb.ivf-cosine" });
  const records = (from, count) =>
    Array.from({ length: count }, (_, i) => ({
      _anchor: ORIGIN + BigInt(from + i),
      title: `Record ${from + i}`,
      kind: ["first", "second"][(from + i) % 2],
      vector: Float32Array.from({ length: 8 }, (_, c) => Math.sin((from + i) * 1.3 + c)),
    }));
  const dataset = await Dataset.create("growing", schema, directoryStore(folder));
  await dataset.appendMany(records(0, 40));
  await dataset.close();
  return async (from, count) => {
    const writer = await Dataset.open("growing", directoryStore(folder));
    await writer.appendMany(records(from, count));
    await writer.close();
  };
}
