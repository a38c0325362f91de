// The models in the page give what the same models gave offline, and the page stays free meanwhile.
import { mkdtempSync, rmSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadEncoder, writeModels } from "../prepare/models.mjs";
import { lookOf } from "../prepare/pictures.mjs";
import { equal, ok, test } from "./harness.mjs";

const ASSETS = fileURLToPath(new URL("../out/app/assets/", import.meta.url));
const PICTURES = join(
  dirname(createRequire(import.meta.url).resolve("emoji-datasource-google/package.json")),
  "img/google/64",
);
/** Beyond this the page would have been felt to hang. */
const LONGEST_TASK_MS = 50;

const TEXTS = [
  "king",
  "something to eat for breakfast",
  "  Something to EAT\nfor breakfast ",
  "dog, hound: a member of the genus Canis that has been domesticated by man since prehistoric times",
  "naïve café – 100 % zażółć 東京 🎉",
  "word ".repeat(400),
];

/** The address of the module that src/models/`name`.ts was built into. */
async function moduleOf(name) {
  const found = (await readdir(ASSETS)).filter((file) => file.startsWith(`${name}-`) && file.endsWith(".js"));
  equal(found.length, 1, `modules of ${name}`);
  return `./assets/${found[0]}`;
}

/** Cosine, 0 if either is all zero. */
function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1);
}

test(
  "the text model gives in the page what it gave offline",
  async ({ open }) => {
    const page = await open();
    const module = new URL(await moduleOf("text"), page.url()).href;
    const { vectors, blank, shares, longest } = await page.evaluate(
      async ({ module, texts, mostMs }) => {
        const { loadTextModel } = await import(module);
        const shares = [];
        const model = await loadTextModel((share) => shares.push(share));
        const vectors = await Promise.all(texts.map(async (text) => [...(await model.embed(text))]));
        const blank = [...(await model.embed("  "))];
        let longest = 0;
        const watch = new PerformanceObserver((list) => {
          for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
        });
        watch.observe({ type: "longtask" });
        // Another process can take the processor away from a page that does nothing: a few rounds, of which one has to be free of that.
        for (let round = 0; round < 6; round++) {
          longest = 0;
          for (const text of texts) await model.embed(text);
          await new Promise((resolve) => setTimeout(resolve, 100));
          if (longest <= mostMs) break;
        }
        return { vectors, blank, shares, longest };
      },
      { module, texts: TEXTS, mostMs: LONGEST_TASK_MS },
    );
    const encoder = await loadEncoder();
    const expected = await encoder.embedMany(TEXTS);
    for (const [i, vector] of vectors.entries()) {
      equal(vector.length, 512, "components");
      ok(Math.abs(Math.hypot(...vector) - 1) < 1e-3, `length ${Math.hypot(...vector)}`);
      const like = cosine(vector, expected[i]);
      ok(like > 0.999, `${TEXTS[i].slice(0, 40)}: cosine ${like}`);
    }
    ok(cosine(vectors[1], vectors[2]) > 0.9999, "case and spaces changed a vector");
    ok(cosine(vectors[0], vectors[1]) < 0.9, "texts of different meaning are alike");
    equal(
      blank.every((value) => value === 0),
      true,
      "a blank text is all zero",
    );
    equal(shares.at(-1), 1, "progress at the end");
    ok(
      shares.every((share, i) => share > (shares[i - 1] ?? 0)),
      "progress does not rise",
    );
    ok(longest <= LONGEST_TASK_MS, `the page was held up for ${longest} ms`);
    return page;
  },
  { alone: true },
);

test("the model's files are those of the packages that are installed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dreamdb-browse-models-"));
  try {
    await writeModels(folder);
    const read = (name) => readFile(join(folder, name), "utf8");
    const [stamp, encoder] = [await read("made-of.json"), await read("encoder.json")];
    await writeFile(join(folder, "encoder.json"), "as it was");
    await writeModels(folder);
    equal(await read("encoder.json"), "as it was", "files that are kept");
    await writeFile(join(folder, "made-of.json"), stamp.replace(/"model":"[^"]*"/, `"model":"0.1.0"`));
    await writeModels(folder);
    ok((await read("encoder.json")) === encoder, "files of an earlier package are kept");
    equal(await read("made-of.json"), stamp);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("pictures are described in the page as they were offline", async ({ open }) => {
  const page = await open();
  const module = new URL(await moduleOf("image"), page.url()).href;
  const names = (await readdir(PICTURES)).filter((name) => name.endsWith(".png"));
  const chosen = Array.from({ length: 40 }, (_, i) => names[Math.floor((i * names.length) / 40)]);
  const pngs = await Promise.all(chosen.map((name) => readFile(join(PICTURES, name))));
  const { looks, wide, refusal } = await page.evaluate(
    async ({ module, pngs }) => {
      const { describeImage } = await import(module);
      const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const looks = [];
      for (const png of pngs) looks.push([...(await describeImage(new Blob([bytes(png)])))]);
      // The first once more, large and with white to the left and right: its shape stays.
      const canvas = new OffscreenCanvas(3000, 1000);
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, 3000, 1000);
      context.drawImage(await createImageBitmap(new Blob([bytes(pngs[0])])), 1000, 0, 1000, 1000);
      const wide = [...(await describeImage(await canvas.convertToBlob()))];
      const refusal = await describeImage(new Blob(["<svg xmlns='http://www.w3.org/2000/svg'/>"])).catch(
        String,
      );
      return { looks, wide: Math.hypot(...wide), refusal };
    },
    { module, pngs: pngs.map((png) => png.toString("base64")) },
  );
  for (const [i, look] of looks.entries()) {
    const like = cosine(look, lookOf(pngs[i]));
    ok(like > 0.999, `${chosen[i]}: cosine ${like}`);
  }
  ok(Math.abs(wide - 1) < 1e-3, `a wide picture: length ${wide}`);
  ok(String(refusal).includes("no picture"), `what is no picture: ${refusal}`);
  return page;
});
