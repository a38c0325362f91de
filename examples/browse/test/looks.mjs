// What axe-core says of every view in every look, and pictures of them for people to look at: out/screens.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { equal, test, until } from "./harness.mjs";
import { found, opened } from "./reading.mjs";
import { PHONE, SCREENS, violations } from "./stage.mjs";

/** What depends on colours alone is all there is to check in the dark. */
const LOOKS = [
  ["light", {}, undefined],
  ["dark", { dark: true }, ["color-contrast"]],
  ["phone", { size: PHONE }, undefined],
];

mkdirSync(SCREENS, { recursive: true });

for (const [look, options, rules] of LOOKS) {
  test(`${look}: axe-core finds nothing wrong, whatever is open`, async ({ open, ref, app }) => {
    const all = [];
    const undecided = new Map();
    const page = await open(options);
    const isPhone = options.size === PHONE;
    const check = async (view) => {
      const { lines, undecided: some } = await violations(page, rules);
      all.push(...lines.map((line) => `${view}: ${line}`));
      for (const [rule, nodes] of some) undecided.set(rule, (undecided.get(rule) ?? 0) + nodes);
      await page.screenshot({ path: join(SCREENS, `${look}-${view}.png`) });
    };
    const pictures = () =>
      until("pictures", () =>
        page.evaluate(() => {
          const images = [...document.querySelectorAll(".card img")];
          return (
            images.length > 5 &&
            images.every((image) => image.complete) &&
            document.querySelector(".is-coming") === null
          );
        }),
      );
    const to = (url, more = {}) => page.goto(`${app}?${new URLSearchParams({ open: url, ...more })}`);
    await page.waitForSelector("#url");
    await page.fill("#url", "nonsense");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".failure");
    await check("failure");
    await to(ref("demo", "emoji"));
    await opened(page);
    await pictures();
    await check("grid");
    if (isPhone) {
      await page.click(".filters-button");
      await check("filters");
      await page.click("text=Done");
    }
    await to(ref("demo", "emoji"), { q: "fruit that grows on trees" });
    await found(page, "fruit");
    await pictures();
    await page.click(".status >> nth=1");
    await page.waitForSelector(".figures div:nth-child(7)");
    await check("cost");
    await page.click(".status >> nth=1");
    if (!isPhone) {
      await page.click("[aria-label='Search options']");
      await check("options");
      await page.click("[aria-label='Search options']");
    }
    await page.locator(".card").first().click();
    await page.waitForSelector(".detail img");
    await check("detail");
    await page.click("[aria-label='Close the details']");
    await page.locator(".views button").nth(1).click();
    await until("the list", async () => (await page.locator(".near-entry").count()) > 10);
    await check("map");
    await page.locator(".views button").first().click();
    await page.click(".chip.strong");
    await page.click(".status >> nth=0");
    await page.waitForSelector(".change-samples img");
    await page.click("[aria-label='The state before']");
    await page.waitForSelector(".notice.past");
    await page.waitForTimeout(300);
    await pictures();
    await check("timeline");
    await to(ref("demo", "glosses"));
    await opened(page);
    await until("bodies", async () => (await page.locator(".card-body").first().textContent()).length > 5);
    await check("texts");
    await page.goto(app);
    await page.waitForSelector(".recent");
    await check("start");
    const words = [...undecided].map(([rule, nodes]) => `${rule} ${nodes}`);
    console.log(`${look}: axe-core left to people: ${words.join(", ") || "nothing"}`);
    equal(all, [], "violations");
    return page;
  });
}
