// The map: by pointer, by keyboard, by its list.
import { equal, ok, test, until } from "./harness.mjs";
import { found, opened, titles } from "./reading.mjs";

/** How much of the canvas is painted, of 1. */
const painted = (page) =>
  page.locator("canvas").evaluate((canvas) => {
    const data = globalThis.pixelsOf(canvas);
    let count = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 100) count++;
    return (4 * count) / data.length;
  });

/** Different colours on the canvas: points have ten and their edges, pictures have many. */
const colours = (page) =>
  page.locator("canvas").evaluate((canvas) => {
    const data = new Uint32Array(globalThis.pixelsOf(canvas).buffer);
    return new Set(data).size;
  });

test("the map shows, moves, zooms, hovers and picks", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji"), more: { view: "map" } });
  await page.waitForSelector("canvas");
  const share = await until("points", async () => (await painted(page)) > 0.004 && (await painted(page)));
  ok((await page.locator(".legend-entry").count()) > 4, "a legend");
  const list = page.locator(".near-entry");
  await until("its list", async () => (await list.count()) > 10);
  const middle = await list.first().textContent();
  await page.focus("canvas");
  for (let i = 0; i < 6; i++) await page.keyboard.press("+");
  await until("fewer in view", async () => (await list.count()) < 40);
  await until("pictures of a close view", async () => (await colours(page)) > 400);
  for (let i = 0; i < 4; i++) await page.keyboard.press("ArrowRight");
  await until(
    "another middle",
    async () =>
      (await list
        .first()
        .textContent({ timeout: 300 })
        .catch(() => "")) !== middle,
  );
  await page.keyboard.press("0");
  await until(
    "all again",
    async () =>
      (await list
        .first()
        .textContent({ timeout: 300 })
        .catch(() => "")) === middle,
  );
  ok(Math.abs((await painted(page)) - share) < share / 2, "it is drawn again");
  // The middle, and so the record that is first in the list.
  const box = await page.locator("canvas").boundingBox();
  const spot = await page.locator("canvas").evaluate((canvas) => {
    const data = globalThis.pixelsOf(canvas);
    const [cx, cy] = [canvas.width / 2, canvas.height / 2];
    let best = [Infinity, 0, 0];
    for (let i = 3; i < data.length; i += 4) {
      if (data[i] < 150) continue;
      const [x, y] = [((i - 3) / 4) % canvas.width, Math.floor((i - 3) / 4 / canvas.width)];
      best = [Math.hypot(x - cx, y - cy), x, y][0] < best[0] ? [Math.hypot(x - cx, y - cy), x, y] : best;
    }
    return { x: best[1] / devicePixelRatio, y: best[2] / devicePixelRatio };
  });
  await page.mouse.move(box.x + spot.x, box.y + spot.y);
  await page.waitForSelector(".map-tip img");
  equal(await page.locator(".map-tip b").textContent(), middle);
  await page.mouse.down();
  await page.mouse.up();
  await until("its details", async () => (await page.locator(".detail h2").textContent()) === middle);
  await page.mouse.move(box.x + 300, box.y + 300);
  await page.mouse.wheel(0, -600);
  await page.mouse.down();
  await page.mouse.move(box.x + 360, box.y + 340, { steps: 4 });
  await page.mouse.up();
  await until(
    "a picture of another part",
    async () =>
      (await list
        .first()
        .textContent({ timeout: 300 })
        .catch(() => "")) !== middle,
  );
  return page;
});

test("hits stand out, and the list has them in order", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji"), more: { view: "map", q: "flag of a country" } });
  await page.waitForSelector(".near-entry");
  await page.click("text=Grid");
  await found(page, "flag");
  const wanted = (await titles(page)).slice(0, 12);
  await page.click("text=Map");
  await until("hits in order", async () => {
    const list = await page.locator(".near-entry").allTextContents();
    return JSON.stringify(list.slice(0, 12)) === JSON.stringify(wanted);
  });
  await page.locator(".legend-entry").first().click();
  await until("the legend filters", async () => (await page.locator(".chip").count()) === 2);
  return page;
});

test("a map of texts has no pictures to show", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "glosses"), more: { view: "map" } });
  await until(
    "points",
    async () => (await page.locator("canvas").count()) === 1 && (await painted(page)) > 0.002,
  );
  await page.click(".near-entry >> nth=2");
  await page.waitForSelector(".detail");
  await page.click("text=Grid");
  await opened(page);
  return page;
});
