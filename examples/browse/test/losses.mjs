// What ends meanwhile: workers, permissions, the connection. The page says so, and goes on where it can.
import { equal, ok, test, until } from "./harness.mjs";
import { cards, count, found, opened } from "./reading.mjs";
import { SIZES } from "./stage.mjs";

const heal = (faults, name) =>
  faults.splice(0, faults.length, ...faults.filter(({ bucket }) => bucket !== name));

/** Browsers write a line of their own for each request that fails. */
const forgive = (page) => {
  const isOwn = (wrong) => !/^console (Failed to load resource|Access to fetch at)/.test(wrong);
  page.wrongs.splice(0, page.wrongs.length, ...page.wrongs.filter(isOwn));
};

test("a worker that dies is replaced, and the page shows the same state again", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  // An earlier state, so that it is the one that was shown and not the newest.
  await page.click(".status >> nth=0");
  await page.click("[aria-label='The state before']");
  await page.waitForSelector(".notice.past");
  await opened(page);
  await until("pictures", async () => (await page.locator(".card img").count()) > 10);
  const [before, address] = [await count(page), page.url()];
  equal(await page.evaluate(() => globalThis.endWorker()), 1, "workers until then");
  // Nothing was under way: the next read finds out.
  await until("the last record", async () => {
    await page.locator(".card").first().focus();
    await page.keyboard.press("Control+End");
    return (await page.locator(`[data-position="${before - 1}"] img`).count()) === 1;
  });
  equal(await count(page), before);
  equal(page.url(), address);
  equal(await page.locator(".failure").count(), 0, "failures");
  await page.locator(".card").last().click();
  await page.waitForSelector(".detail img");
  await until("nothing under way", async () =>
    (await page.locator(".status-end").textContent()).startsWith("Read "),
  );

  // Once more, and so soon that there may be a reason: it is said, and tried again when asked.
  equal(await page.evaluate(() => globalThis.endWorker()), 2, "workers until then");
  await page.click("[aria-label='Close the details']");
  await page.locator(".card").last().focus();
  await page.keyboard.press("l");
  await page.waitForSelector(".main .failure");
  ok((await page.locator(".main .failure").textContent()).includes("Aborted"), "the code");
  await page.click("button:text-is('Try again')");
  await until("hits after all", async () => (await page.locator(".rank").count()) > 5);
  equal(await page.locator(".failure").count(), 0, "failures after all");
  await page.click(".chip.strong");
  await until(
    "all",
    async () => (await count(page)) === before && (await page.locator(".card img").count()) > 10,
  );
  return page;
});

test("a worker that dies while it reads leaves nothing under way", async ({ open, ref, faults }) => {
  const page = await open({ url: ref("ending", "glosses") });
  await opened(page);
  const fault = { bucket: "ending", match: /^objects/, kind: "stall", times: 1e9 };
  faults.push(fault);
  await page.locator(".card").first().focus();
  await page.keyboard.press("l");
  await until("requests", async () =>
    (await page.locator(".status-end").textContent()).startsWith("Reading"),
  );
  faults.splice(faults.indexOf(fault), 1);
  await page.evaluate(() => globalThis.endWorker());
  await until("hits", async () => (await page.locator(".rank").count()) > 5);
  await until("nothing under way", async () =>
    (await page.locator(".status-end").textContent()).startsWith("Read "),
  );
  return page;
});

test("what fails beside a search is said: a state that can't be read, a ref that can't be looked at", async ({
  open,
  ref,
  faults,
}) => {
  const page = await open({ url: ref("denied", "emoji") });
  await opened(page);
  faults.push({ bucket: "denied", match: /^refs/, kind: "denied", times: 1e9 });
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await look();
  await until("that it can't look", async () =>
    (
      (await page
        .locator(".status-warning")
        .textContent({ timeout: 300 })
        .catch(() => "")) ?? ""
    ).includes("denies access"),
  );
  heal(faults, "denied");
  await until("that it can again", async () => {
    await look();
    await page.waitForTimeout(100);
    return (await page.locator(".status-warning").count()) === 0;
  });
  // An address of this dataset with a state that is none.
  await page.evaluate(() => {
    const search = new URLSearchParams(location.search);
    search.set("at", "dyqnone");
    history.pushState(null, "", `?${search}`);
    dispatchEvent(new PopStateEvent("popstate"));
  });
  await page.waitForSelector(".main .failure");
  equal(await count(page), SIZES.emoji, "records of the state that was shown");
  await page.click("text=Dismiss");
  equal(await page.locator(".failure").count(), 0);
  forgive(page);
  return page;
});

test("leaving with a search adds one step to the history, and back there the search is", async ({
  open,
  ref,
}) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  await page.fill("input[type=search]", "something to eat");
  await page.keyboard.press("Enter");
  await found(page, "something to eat");
  const [steps, address] = await page.evaluate(() => [history.length, location.href]);
  await page.selectOption(".ref-picker select", "emoji-mirrored");
  await until("the branch", async () => (await page.title()).startsWith("emoji-mirrored"));
  equal(await page.evaluate(() => history.length), steps + 1, "steps");
  await page.goBack();
  await found(page, "something to eat");
  equal(page.url(), address);
  ok((await page.title()).startsWith("emoji ·"), await page.title());
  return page;
});

test("opened by a Manifest: the branches beside it can be picked, and it is remembered by its name", async ({
  open,
  ref,
  manifest,
}) => {
  const address = await manifest("demo", "emoji-1.0");
  const page = await open({
    url: ref("demo", "emoji").replace(/refs.*/, `objects/${address.slice(4, 6)}/${address}`),
  });
  await opened(page);
  const label = `${address.slice(0, 12)}…`;
  equal(await page.locator(".ref-picker option").first().textContent(), label);
  await until("refs", async () => (await page.locator(".ref-picker option").count()) >= 6);
  await page.selectOption(".ref-picker select", "emoji-mirrored");
  await until("the branch", async () => (await page.title()).startsWith("emoji-mirrored"));
  await opened(page);
  await page.click(".brand");
  equal(await page.locator(".recent b").allTextContents(), ["emoji-mirrored", label]);
  return page;
});

test("while it opens it tells how far it is; what was read once is not asked for again", async ({
  open,
  ref,
  faults,
  requests,
}) => {
  const slow = { bucket: "kept", match: /./, kind: undefined, delayMs: 150, times: 1e9 };
  faults.push(slow);
  const page = await open({ url: ref("kept", "emoji") });
  await until("progress", async () =>
    /\d+ answers?, .*B/.test(
      (await page
        .locator(".opening-progress")
        .textContent({ timeout: 300 })
        .catch(() => "")) ?? "",
    ),
  );
  faults.splice(faults.indexOf(slow), 1);
  await opened(page);
  await until("pictures", async () => (await page.locator(".card img").count()) > 10);
  await page.waitForTimeout(500);
  const asked = () =>
    requests.filter(({ bucket, key }) => bucket === "kept" && key.startsWith("objects/")).length;
  const first = asked();
  await page.reload();
  await opened(page);
  await until("pictures", async () => (await page.locator(".card img").count()) > 10);
  const again = asked() - first;
  console.log(`objects asked for: ${first} at first, ${again} after loading anew`);
  ok(first > 4 && again < first / 4, `${first} requests, then ${again}`);
  ok((await cards(page)) > 10, "cards");
  return page;
});
