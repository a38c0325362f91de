// The prepared bucket: it opens, has the history that it is to show, is sound, and is the same whenever it is made.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, fsck } from "@dreamlake/dreamdb";
import { bucketHandler } from "../demo/bucket.mjs";
import { equal, ok, test } from "./harness.mjs";
import { SIZES } from "./stage.mjs";

const PREPARE = fileURLToPath(new URL("../prepare/prepare.mjs", import.meta.url));

test("the prepared bucket opens, is sound, and is the same in every run", async ({ ref }) => {
  const folder = mkdtempSync(join(tmpdir(), "dreamdb-browse-data-"));
  const server = createServer(bucketHandler(folder, "demo"));
  try {
    await prepareAfresh(folder);
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const served = `http://127.0.0.1:${server.address().port}/demo`;
    for (const name of ["emoji", "glosses"]) {
      const dataset = await Dataset.open(name, served);
      equal(await dataset.count(), SIZES[name], `records of ${name}`);
      const appends = (await dataset.history(100)).filter(({ op }) => op === "append");
      ok(appends.length >= 8, `${name}: ${appends.length} appends`);
      await theSame(dataset, ref("demo", name));
      await mapped(dataset);
      await foundAgain(dataset, "meaning");
      if (name === "emoji") await foundAgain(dataset, "look");
      await dataset.close();
    }
    const refs = await (await Dataset.open("emoji", served)).listRefs();
    equal(
      refs.map(({ name }) => name).sort(),
      [
        "emoji",
        "emoji-1.0",
        "emoji-13.0",
        "emoji-16",
        "emoji-5.0",
        "emoji-mirrored",
        "glosses",
        "glosses-most-used",
      ],
      "refs",
    );
    const { ok: isSound, problems } = await fsck(folder);
    ok(isSound, JSON.stringify(problems));
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** In a process of its own, with all vectors and maps computed anew: what was kept of them would be the same without proving anything. */
async function prepareAfresh(folder) {
  const args = Object.entries({ bucket: folder, ...SIZES }).flatMap(([name, value]) => [`--${name}`, value]);
  const env = { ...process.env, NO_CACHE: "1" };
  const child = spawn(process.execPath, [PREPARE, ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    printed += text;
  });
  const [code] = await once(child, "close");
  equal(code, 0, `how the preparation ended, which said: ${printed}`);
  ok(!printed.includes("kept from an earlier run"), printed);
}

/** The bucket of the stage was made by another run, but maybe of an older library: then it is to be removed, out/test-bucket. */
async function theSame(dataset, url) {
  const [backend, name] = url.split("/refs/");
  const other = await Dataset.open(name, backend);
  equal(
    dataset.currentManifest(),
    other.currentManifest(),
    `Manifest of ${name}, made afresh and in out/test-bucket,`,
  );
  await other.close();
}

async function mapped(dataset) {
  const places = new Set();
  for await (const { map_x, map_y } of dataset.iterStream({ fields: ["map_x", "map_y"] }))
    for (const [i, x] of map_x.entries()) {
      ok(Math.abs(x) <= 1 && Math.abs(map_y[i]) <= 1, `a place off the map: ${x}, ${map_y[i]}`);
      places.add(`${x} ${map_y[i]}`);
    }
  ok(places.size > (await dataset.count()) / 2, `${places.size} different places`);
}

/** A search by a record's own vector finds the record. */
async function foundAgain(dataset, field) {
  for await (const batch of dataset.iterStream({ fields: [field], batchSize: 1 })) {
    const [hits] = await dataset.iterVector({ field, query: batch[field][0], topK: 1 });
    equal(Math.abs(hits._distances[0]) < 1e-5, true, `distance 0 by ${field}`);
    return;
  }
}
