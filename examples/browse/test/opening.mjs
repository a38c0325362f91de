// Opening, going through records, filtering, and what happens when a dataset can't be opened.
import { equal, ok, test, until } from "./harness.mjs";
import { cards, count, opened, titles } from "./reading.mjs";
import { LONG, MANY, PHONE, SIZES } from "./stage.mjs";

test("the form opens an address, and remembers it", async ({ open, ref }) => {
  const page = await open();
  await page.fill("#url", ref("demo", "emoji"));
  await page.keyboard.press("Enter");
  await opened(page);
  equal(await count(page), SIZES.emoji);
  ok(page.url().includes("open="), page.url());
  await page.click(".brand");
  await page.click(".recent");
  await opened(page);
  await page.goBack();
  await page.waitForSelector("#url");
  return page;
});

test("pictures are there, decoded, with their labels", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  await until("decoded pictures", () =>
    page.evaluate(() => {
      const images = [...document.querySelectorAll(".card img")];
      return (
        images.length > 10 && images.every((image) => image.naturalWidth > 0 && image.src.startsWith("blob:"))
      );
    }),
  );
  ok(
    (await titles(page)).every((title) => title.length > 0),
    "cards without a title",
  );
  return page;
});

test("thousands of records: few cards in the document, few pictures held, the last one in reach", async ({
  open,
  ref,
}) => {
  const page = await open({ url: ref("many", "many") });
  await opened(page);
  await until("all records", async () => (await count(page)) === MANY);
  ok((await page.locator(".views").count()) === 0, "a map without coordinates");
  let most = 0;
  for (let i = 0; i < 30; i++) {
    await page.mouse.move(800, 500);
    await page.mouse.wheel(0, 900);
    await page.waitForTimeout(20);
    most = Math.max(most, await page.locator(".card").count());
  }
  await page.locator(".card").first().focus();
  await page.keyboard.press("Control+End");
  await until(
    "the last record",
    async () => (await page.locator(`[data-position="${MANY - 1}"] img`).count()) === 1,
  );
  ok(most <= 160, `${most} cards at a time`);
  const urls = await page.evaluate(() => ({
    held: globalThis.blobUrls.held.size,
    most: globalThis.blobUrls.most,
  }));
  console.log(`${MANY} records: at most ${most} cards in the document and ${urls.most} pictures held`);
  ok(urls.held <= 200 && urls.most <= 400, `blob URLs: ${JSON.stringify(urls)}`);
  return page;
});

test("on a phone the last of very many texts is in reach, by keys, by the bar and by touch", async ({
  open,
  ref,
}) => {
  const page = await open({ url: ref("long", "long"), size: PHONE });
  await opened(page);
  await until("all records", async () => (await count(page)) === LONG);
  const inView = () =>
    page.evaluate(() => {
      const box = document.querySelector(".grid").getBoundingClientRect();
      return [...document.querySelectorAll(".card")]
        .filter((card) => {
          const { top, bottom } = card.getBoundingClientRect();
          return top < box.bottom && bottom > box.top;
        })
        .map((card) => Number(card.dataset.position));
    });
  const height = await page.locator(".grid-rows").evaluate((rows) => rows.getBoundingClientRect().height);
  ok(height <= 5_000_000, `${height} px`);
  await page.locator(".card").first().focus();
  await page.keyboard.press("Control+End");
  await until("the last record", async () => (await inView()).includes(LONG - 1));
  ok(
    (await page.locator(`[data-position="${LONG - 1}"]`).textContent()).includes(`Text ${LONG - 1}`),
    "its text",
  );
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Control+Home");
  await until("the first record", async () => (await inView()).includes(0));
  const bar = (share) =>
    page.locator(".grid").evaluate((box, to) => {
      box.scrollTop = to * (box.scrollHeight - box.clientHeight);
    }, share);
  await bar(0.5);
  await until("the middle", async () => (await inView()).some((row) => Math.abs(row - LONG / 2) < 20));
  const middle = (await inView())[0];
  await page.locator(".grid").evaluate((box) => box.scrollBy(0, 272));
  await until("two rows on", async () => (await inView())[0] === middle + 2);
  await page.waitForTimeout(250);
  equal((await inView())[0], middle + 2, "where it rests");
  await bar(1);
  await until("the end", async () => (await inView()).includes(LONG - 1));
  return page;
});

test("films and sounds are in the details", async ({ open, ref }) => {
  const page = await open({ url: ref("recordings", "recordings") });
  await opened(page);
  await page.locator(".card").first().click();
  const length = await until("a sound", () =>
    page.evaluate(() => document.querySelector(".detail audio")?.duration || undefined),
  );
  ok(Math.abs(length - 0.1) < 0.01, `${length} s`);
  ok((await page.locator(".detail audio").getAttribute("src")).startsWith("blob:"), "its address");
  await until("what is no film", async () =>
    (await page.locator(".recording").last().textContent()).includes("can’t be shown"),
  );
  return page;
});

test("facets count and filter, together and through the library", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  const entry = (facet, i) => page.locator(".facet").nth(facet).locator(".facet-value").nth(i);
  await until("counts of all", async () => {
    const counts = await page.locator(".facet").nth(0).locator(".facet-count").allTextContents();
    return (
      counts.length > 4 && (await page.locator(".result-count").textContent()) === `${SIZES.emoji} records`
    );
  });
  const name = await entry(0, 0).locator(".facet-name").textContent();
  const wanted = Number(await entry(0, 0).locator(".facet-count").textContent());
  await entry(0, 0).click();
  await until(
    "the filter",
    async () => (await page.locator(".result-count").textContent()) === `${wanted} of ${SIZES.emoji}`,
  );
  const notes = await page.locator(".card-note bdi").allTextContents();
  ok(notes.length > 0 && notes.every((note) => note === name), notes.join());
  const inner = Number(await entry(1, 0).locator(".facet-count").textContent());
  ok(inner <= wanted, "facets of other fields count what passes");
  await entry(1, 0).click();
  await until("both filters", async () => (await count(page)) === inner);
  ok(page.url().includes("where.category"), page.url());
  await page.reload();
  await opened(page);
  await until("the same after loading anew", async () => (await count(page)) === inner);
  await page.click("text=Clear all");
  await until("all again", async () => (await count(page)) === SIZES.emoji);
  return page;
});

test("records without pictures are text cards", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "glosses") });
  await opened(page);
  await until("glosses", async () => (await page.locator(".card-body").first().textContent()).length > 5);
  equal(await page.locator(".card .picture").count(), 0);
  return page;
});

test("branches and snapshots can be picked", async ({ open, ref }) => {
  const page = await open({ url: ref("demo", "emoji") });
  await opened(page);
  await until("refs", async () => (await page.locator(".ref-picker option").count()) >= 6);
  const before = await count(page);
  await page.selectOption(".ref-picker select", "emoji-mirrored");
  await until("the branch", async () => (await page.title()).startsWith("emoji-mirrored"));
  await opened(page);
  ok((await count(page)) !== before, "as many records as on the other branch");
  await page.goBack();
  await until(
    "back",
    async () => (await page.title()).startsWith("emoji ·") && (await count(page)) === before,
  );
  await page.selectOption(".ref-picker select", "emoji-1.0");
  await until("the snapshot", async () => (await page.title()).startsWith("emoji-1.0"));
  return page;
});

test("what can't be opened says why and what to do, and the page goes on", async ({
  open,
  ref,
  faults,
  app,
}) => {
  const page = await open();
  const tell = async (url, title, ...words) => {
    await page.fill("#url", url);
    await page.click("text=Open >> nth=-1");
    const found = await until(
      `${title}: ${url}`,
      async () => {
        const text = await page
          .locator(".failure")
          .textContent({ timeout: 200 })
          .catch(() => "");
        return text.includes(title) && text;
      },
      20_000,
    );
    for (const word of words) ok(found.includes(word), `without "${word}": ${found}`);
  };
  const heal = () => faults.splice(0, faults.length, ...faults.filter(({ bucket }) => bucket !== "failing"));
  const faulty = async (kind, title, ...words) => {
    faults.push({ bucket: "failing", match: /^refs/, kind, times: 1e9 });
    await tell(ref("failing", "emoji"), title, ...words);
    heal();
  };
  await tell(ref("failing", "none"), "Nothing there", "NotFound", "/refs/");
  await faulty("denied", "The bucket denies access", "403", "s3:GetObject");
  await faulty("no CORS", "No answer that this page may read", "CORS", new URL(app).origin);
  await faulty("a page", "Something else than a dataset");
  await tell("http://127.0.0.1:9/b/refs/main", "No answer that this page may read", "server runs");
  await tell("https://", "Not an address of a dataset", "InvalidUri");
  await tell("nonsense", "Not an address of a dataset", "https://host/bucket/refs/name");
  await page.fill("#url", ref("failing", "emoji"));
  await page.keyboard.press("Enter");
  await opened(page);
  equal(await count(page), SIZES.emoji);
  // A bucket that fails meanwhile.
  faults.push({ bucket: "failing", match: /^objects/, kind: "denied", times: 1e9 });
  await page.locator(".card").first().focus();
  await page.keyboard.press("l");
  await page.waitForSelector(".main .failure");
  heal();
  await page.click("text=Try again");
  await until(
    "hits after all",
    async () => (await cards(page)) > 5 && (await page.locator(".rank").count()) > 5,
  );
  // Browsers write a line of their own for each request that fails.
  page.wrongs.splice(0, page.wrongs.length, ...page.wrongs.filter((wrong) => !isFailedLoad(wrong)));
  return page;
});

function isFailedLoad(wrong) {
  return (
    /^console (Failed to load resource|Access to fetch at)/.test(wrong) ||
    wrong.startsWith("request http://127.0.0.1:9/")
  );
}
