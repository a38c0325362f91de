// What a page shows, as tests ask for it.
import { until } from "./harness.mjs";

/** Waits until a dataset is open and all of it was counted. */
export async function opened(page) {
  await page.waitForSelector(".card", { timeout: 30_000 });
  await until(
    "the end of reading",
    async () => !(await page.locator(".result-count").textContent()).includes("…"),
  );
}

/** The number before the records. */
export async function count(page) {
  return Number.parseInt((await page.locator(".result-count").textContent()).replaceAll(",", ""), 10);
}

export function cards(page) {
  return page.locator(".card").count();
}

/** Titles in order, without ranks. */
export function titles(page) {
  return page.locator(".card .card-title bdi").allTextContents();
}

export async function distances(page) {
  return (await page.locator(".card .card-distance").allTextContents()).map((text) =>
    Number(text.replace("Distance ", "")),
  );
}

/** Waits for the hits of a search: the chip says which. */
export async function found(page, words) {
  await until(
    `hits for ${words}`,
    async () => {
      const chip = await page
        .locator(".chip.strong")
        .textContent({ timeout: 500 })
        .catch(() => "");
      const summary = await page.locator(".result-count").textContent();
      return chip.includes(words) && summary.includes("nearest") && (await page.locator(".rank").count()) > 0;
    },
    30_000,
  );
}
