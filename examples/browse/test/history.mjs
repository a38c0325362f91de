// Earlier states, what differs between them, and states that come to be meanwhile.
import { equal, ok, test, until } from "./harness.mjs";
import { count, opened } from "./reading.mjs";
import { SIZES } from "./stage.mjs";

const state = async (page) => {
  const text = await page.locator(".state").textContent();
  return {
    seq: Number(/#(\d+)/.exec(text)[1]),
    rows: Number(/([\d,]+) records/.exec(text)[1].replaceAll(",", "")),
  };
};

test("the timeline shows the dataset as it was, and what changed since", async ({ open, ref, faults }) => {
  const page = await open({ url: ref("slow", "emoji") });
  await opened(page);
  await page.click(".status >> nth=0");
  await page.waitForSelector(".state");
  const newest = await state(page);
  equal(newest.rows, SIZES.emoji);
  // To the fourth state with the keyboard, slowly answered: keys come before the states that earlier ones asked for.
  faults.push({ bucket: "slow", match: /^objects/, kind: undefined, delayMs: 120, times: 1e9 });
  await page.focus(".track input");
  await page.keyboard.press("Home");
  for (let i = 0; i < 3; i++) {
    await page.waitForTimeout(190);
    await page.keyboard.press("ArrowRight");
  }
  await page.waitForSelector(".notice.past");
  await until("the fourth state", async () => (await page.inputValue(".track input")) === "3");
  faults.splice(
    faults.findIndex(({ bucket }) => bucket === "slow"),
    1,
  );
  await until("its records", async () => (await count(page)) === (await state(page)).rows);
  const then = await state(page);
  ok(then.rows > 0 && then.rows < newest.rows, JSON.stringify(then));
  ok(page.url().includes("at=dyq"), page.url());
  const address = page.url();
  // What the state before had not.
  await until("a comparison", async () => (await page.locator(".change-counts").count()) === 1);
  const before = Number(
    /, ([\d,]+) records/.exec(await page.locator(".compare option:checked").textContent())[1],
  );
  const added = await page.locator(".change-counts li").first().textContent();
  equal(added.trim(), `+${then.rows - before} added`);
  ok(
    (await page.locator(".change-samples.is-added li").count()) === Math.min(12, then.rows - before),
    "samples",
  );
  // Against the newest: the other way round.
  const last = await page.locator(".compare option").last().getAttribute("value");
  await page.selectOption(".compare select", last);
  await until("removed", async () =>
    (
      await page
        .locator(".change-counts")
        .textContent()
        .catch(() => "")
    ).includes(`−${newest.rows - then.rows} removed`),
  );
  // A search finds what there was.
  await page.locator(".card").first().focus();
  await page.keyboard.press("l");
  await until("hits of then", async () => (await page.locator(".rank").count()) > 0);
  ok((await count(page)) <= then.rows - 1, "more hits than records");
  await page.goto(address);
  await opened(page);
  equal(await count(page), then.rows);
  await page.click("text=Back to the newest");
  await until("now", async () => (await count(page)) === newest.rows);
  await page.goBack();
  await until("then", async () => (await count(page)) === then.rows);
  return page;
});

test("the slider goes where it rests", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  await page.click(".status >> nth=0");
  const slider = page.locator(".track input");
  const box = await slider.boundingBox();
  await page.mouse.move(box.x + box.width - 5, box.y + 10);
  await page.mouse.down();
  for (let i = 1; i <= 10; i++) await page.mouse.move(box.x + box.width * (1 - i / 20), box.y + 10);
  await page.mouse.up();
  await page.waitForSelector(".notice.past");
  await until("its records", async () => (await count(page)) === (await state(page)).rows);
  return page;
});

test("a commit by someone else is told of, and shown when asked", async ({ open, ref, append }) => {
  const page = await open({ url: ref("growing", "growing") });
  await opened(page);
  equal(await count(page), 40);
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await append(100, 3);
  await append(200, 2);
  await look();
  await page.waitForSelector(".notice");
  ok(
    (await page.locator(".notice").textContent()).includes("2 commits, 5 more records"),
    await page.locator(".notice").textContent(),
  );
  equal(await count(page), 40, "records before it was asked for");
  await page.click(".notice >> text=Show");
  await until("the new records", async () => (await count(page)) === 45);
  equal(await page.locator(".notice").count(), 0);
  await page.locator(".card").first().focus();
  await page.keyboard.press("Control+End");
  await until("the newest record", async () =>
    (await page.locator("[data-position='44']").textContent()).includes("Record 201"),
  );
  await page.keyboard.press("l");
  await until("its like", async () => (await page.locator(".rank").count()) > 10);
  return page;
});
