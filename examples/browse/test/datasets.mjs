// Datasets of the tests beside those that prepare/ makes: many records, hostile ones, and one that grows meanwhile.
import { Dataset, directoryStore, Schema } from "@dreamlake/dreamdb";
import { encode } from "fast-png";
import { mediaOf, NAMES, textsOf } from "../../../test/browser/hostile-data.mjs";

const ORIGIN = 1_700_000_000_000_000_000n;

/** A picture of one colour. */
function plain(n) {
  const data = new Uint8Array(16 * 16 * 3);
  for (let i = 0; i < data.length; i += 3) data.set([n & 255, (n >> 4) & 255, (n * 37) & 255], i);
  return encode({ width: 16, height: 16, channels: 3, data });
}

/** No title, no map: a dataset that has pictures, two scalars, and a vector that texts are compared by. */
export async function makeMany(folder, rows) {
  const schema = new Schema()
    .addImage("photo", { mime: "png" })
    .addScalarInt("n")
    .addScalarBool("even")
    .addEmbedding("vector", { dim: 512, algorithm: "dreamdb.ivf-cosine" });
  const dataset = await Dataset.create("many", schema, directoryStore(folder));
  const pictures = Array.from({ length: 64 }, (_, i) => plain(i * 31));
  await dataset.appendMany(
    Array.from({ length: rows }, (_, n) => ({
      _anchor: ORIGIN + BigInt(n) * 1000n,
      photo: pictures[n % 64],
      n,
      even: n % 2 === 0,
      vector: Float32Array.from({ length: 512 }, (_, i) =>
        Math.fround(Math.sin(n * 1.7 + i * (1 + (n % 50)))),
      ),
    })),
  );
  await dataset.close();
}

/** So many texts that a box for all of them would be too high for a browser. */
export async function makeLong(folder, rows) {
  const schema = new Schema().addScalarString("title");
  const dataset = await Dataset.create("long", schema, directoryStore(folder));
  await dataset.appendMany(
    Array.from({ length: rows }, (_, n) => ({ _anchor: ORIGIN + BigInt(n) * 1000n, title: `Text ${n}` })),
  );
  await dataset.close();
}

/** A tenth of a second of a tone. */
function wav() {
  const samples = 800;
  const bytes = Buffer.alloc(44 + samples);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(36 + samples, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(8000, 24);
  bytes.writeUInt32LE(8000, 28);
  bytes.writeUInt16LE(1, 32);
  bytes.writeUInt16LE(8, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(samples, 40);
  for (let i = 0; i < samples; i++) bytes[44 + i] = 128 + Math.round(100 * Math.sin(i / 3));
  return new Uint8Array(bytes);
}

/** A sound that plays, and a film that is none beyond its first bytes. */
export async function makeRecordings(folder) {
  const schema = new Schema()
    .addScalarString("title")
    .addAudio("voice", { mime: "wav" })
    .addVideo("scene", { mime: "mp4" });
  const dataset = await Dataset.create("recordings", schema, directoryStore(folder));
  const film = new TextEncoder().encode("\0\0\0\u0018ftypisom and no more");
  await dataset.appendMany([{ _anchor: ORIGIN, title: "A tone", voice: wav(), scene: film }]);
  await dataset.close();
}

/** An origin that nobody is to ask for anything. */
const FOREIGN = "https://evil.example";

/** Those of the library's own tests, and what a page like this one could take for a picture, a style or a title. */
export const HOSTILE = [
  ...textsOf(FOREIGN),
  `"><script>alert(1)</script>`,
  `data:text/html,<script>alert(1)</script>`,
  `${FOREIGN}/track.png`,
  `url(${FOREIGN}/x.css)`,
  `${"very long ".repeat(60)}`,
  `&lt;b&gt;&amp;#x3c;`,
];

/** Text in names, categories and the names of fields; markup where pictures, films and sounds should be. */
export async function makeHostile(folder) {
  let schema = new Schema()
    .addImage("image", { required: false, mime: "png" })
    .addAudio("audio", { required: false, mime: "wav" })
    .addVideo("video", { required: false, mime: "mp4" })
    .addScalarString("name")
    .addScalarCategorical("category")
    .addScalarString("onclick")
    .addEmbedding("look", { dim: 320, algorithm: "dreamdb.ivf-cosine" })
    .addScalarFloat("map_x")
    .addScalarFloat("map_y");
  for (const name of NAMES) schema = schema.addScalarCategorical(name, { required: false });
  const dataset = await Dataset.create("hostile", schema, directoryStore(folder));
  const media = mediaOf(FOREIGN, plain(9));
  await dataset.appendMany(
    HOSTILE.map((text, n) => {
      const [, kind, bytes] = media[n % media.length];
      // Every second record has none of the fields that objects have by themselves.
      const named = n % 2 === 0 ? Object.fromEntries(NAMES.map((name) => [name, text])) : {};
      return {
        _anchor: ORIGIN + BigInt(n),
        [kind]: bytes,
        name: text,
        category: text,
        onclick: text,
        look: Float32Array.from({ length: 320 }, (_, i) => Math.sin(n + i)),
        map_x: Math.cos(n),
        map_y: Math.sin(n),
        ...named,
      };
    }),
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
