// All of it without a mouse, and on a phone.
import { equal, ok, test, until } from "./harness.mjs";
import { opened } from "./reading.mjs";
import { PHONE } from "./stage.mjs";

const position = (page) => page.evaluate(() => document.activeElement?.dataset.position);

test("the grid is one stop of the Tab key, and arrows go on from there", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("Tab");
  equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  equal(await page.evaluate(() => document.activeElement.id), "results");
  for (let i = 0; i < 8 && (await position(page)) === undefined; i++) await page.keyboard.press("Tab");
  equal(await position(page), "0");
  equal(await page.locator('.card[tabindex="0"]').count(), 1, "stops");
  const columns = Number(await page.locator("[role=grid]").getAttribute("aria-colcount"));
  const press = async (key, expected) => {
    await page.keyboard.press(key);
    await until(`${key}: ${expected}`, async () => (await position(page)) === String(expected), 2000);
  };
  await press("ArrowRight", 1);
  await press("ArrowDown", columns + 1);
  await press("Home", columns);
  await press("End", 2 * columns - 1);
  await press("ArrowUp", columns - 1);
  await press("ArrowUp", columns - 1);
  await press("Control+End", 159);
  await press("ArrowRight", 159);
  await press("PageUp", 159 - 4 * columns);
  await press("Control+Home", 0);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  equal(outline, "solid", "the outline of what has the focus");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".detail");
  equal(await position(page), "0", "the focus while details are beside");
  await page.keyboard.press("Escape");
  await until("no details", async () => (await page.locator(".detail").count()) === 0);
  await page.keyboard.press("Tab");
  ok(
    await page.evaluate(() => document.activeElement.classList.contains("card-like")),
    "more like this is next",
  );
  return page;
});

test("on a phone filters and details cover the page, and give the focus back", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji"), size: PHONE });
  await opened(page);
  equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width, "width");
  await page.locator(".card").nth(3).tap();
  await page.waitForSelector(".detail");
  ok(await page.evaluate(() => document.activeElement.closest(".detail") !== null), "the focus is elsewhere");
  ok(await page.locator("main").evaluate((main) => main.inert), "what is covered can be reached");
  await page.keyboard.press("Escape");
  await until("the focus is back", async () => (await position(page)) === "3");
  await page.click(".filters-button");
  await until("the focus", () => page.evaluate(() => document.activeElement.textContent === "Done"));
  await page.locator(".facet-value").first().tap();
  await page.click("text=Done");
  await until("the focus is back", () =>
    page.evaluate(() => document.activeElement.classList.contains("filters-button")),
  );
  ok((await page.locator(".filters-button").textContent()).includes("(1)"), "filters are counted");
  return page;
});

test("colours follow the system, or the choice that was made", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji"), dark: true });
  await opened(page);
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await page.click("[aria-label^='Colours']");
  await until("light", async () => (await ground()) !== dark);
  await page.reload();
  await opened(page);
  ok((await ground()) !== dark, "the choice is forgotten");
  await page.click("[aria-label^='Colours']");
  await until("dark", async () => (await ground()) === dark);
  return page;
});
