// Stored text and bytes that want to be more.
import { HOSTILE } from "./datasets.mjs";
import { equal, ok, test, until } from "./harness.mjs";
import { found, opened, titles } from "./reading.mjs";

/** Records whose field of images holds one that a browser can show. */
const PICTURES = 3;

test("hostile names, categories and media: text is text, markup is no picture", async ({ open, ref }) => {
  const page = await open({ url: ref("hostile", "hostile"), size: { width: 1440, height: 1500 } });
  await opened(page);
  // A title is cut where it is too long, and a record without one is called by its time.
  const shown = HOSTILE.map((text) => (text.length <= 200 ? text : `${text.slice(0, 200)}…`));
  const isShown = (title, i) => (shown[i] === "" ? title.length > 10 : title === shown[i]);
  const all = await titles(page);
  equal(all.length, HOSTILE.length, "titles");
  for (const [i, title] of all.entries()) ok(isShown(title, i), `${title} in place of ${shown[i]}`);
  await until("all that was read", async () => (await page.locator(".picture.is-coming").count()) === 0);
  // What is a picture by its first bytes and none beyond them is tried, and is broken.
  await until("all that is a picture", async () => (await page.locator(".card img").count()) === PICTURES);
  equal(await page.locator(".picture.is-missing").count(), HOSTILE.length - PICTURES);
  for (let i = 0; i < HOSTILE.length; i++) {
    await page.locator(`[data-position="${i}"]`).click();
    await until(`details of ${i}`, async () => isShown(await page.locator(".detail h2").textContent(), i));
    await page.waitForSelector(".values dt bdi");
    // Of the fields that an object has by itself, those that the record has.
    const named = await page
      .locator(".values dt", { hasText: /^(Constructor|ToString|Then|ValueOf)$/ })
      .count();
    equal(named, i % 2 === 0 ? 4 : 0, `fields of ${i}`);
  }
  await page.click(".detail .like-row button");
  await found(page, "by look");
  await page.locator(".facet-value").nth(2).click();
  await until("a filter", async () => (await page.locator(".chip").count()) === 2);
  await page.click("text=Map");
  await page.waitForSelector(".near-entry");
  await page.click(".chip.strong");
  await page.click("text=Clear all");
  await page.click(".status >> nth=0");
  await page.waitForSelector(".change-samples li");
  await page.click("text=Grid");
  // Nothing that data says is in an address or a handler, wherever it is shown.
  const wild = await page.evaluate(() =>
    [...document.querySelectorAll("*")].flatMap((element) =>
      [...element.attributes]
        .filter(
          ({ name, value }) =>
            name.startsWith("on") ||
            (/^(src|href|action|style)$/.test(name) && /evil|javascript:|data:|alert/.test(value)),
        )
        .map(({ name, value }) => `${element.tagName} ${name}=${value}`),
    ),
  );
  equal(wild, []);
  equal(await page.locator("script:not([src])").count(), 0, "scripts");
  return page;
});

test("a hostile address is no more than text", async ({ open, app }) => {
  const page = await open({
    url: `javascript:alert(1)//<img src=x onerror=alert(1)>/refs/x`,
    more: { "where.x": "<script>", at: "../..", like: "1e9" },
  });
  await page.waitForSelector(".failure");
  ok((await page.inputValue("#url")).startsWith("javascript:"), "the address");
  await page.goto(`${app}?open=data:text/html,x/refs/y`);
  await page.waitForSelector(".failure");
  return page;
});
