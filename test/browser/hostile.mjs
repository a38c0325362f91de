// Labels, names and media of a hostile writer on a page: they are data, and nothing of them runs, asks anybody, or is said aloud.
import { DreamDBSpace } from "/lib/index.js";
import { equal, fails, node, ok, test, using } from "./harness.mjs";
import { mediaOf, NAMES, textsOf } from "./hostile-data.mjs";

const ORIGIN = 1_700_000_000_000_000_000n;
/** Elements that show media of each kind. */
const ELEMENTS = { image: "img", audio: "audio", video: "video" };

for (const [where, options] of [
  ["here", {}],
  ["in a worker", { worker: true }],
]) {
  test(`${where}: a hostile writer's text and media are shown, and nothing else comes of them`, async () => {
    const foreign = await node("foreignOrigin");
    const watch = watchPage();
    try {
      await node("console");
      await watch.control(foreign);
      watch.clear();
      const said = await node("console");
      ok(
        said.some((line) => line.includes(`${foreign}/control`)),
        `the control: ${said}`,
      );
      const { url, made } = await node("shared", { what: "hostile", args: [foreign] });
      await using(`${url}/refs/main`, options, (space) => show(space, made.count, foreign));
      // What would run, would do so a little later.
      await new Promise((resolve) => setTimeout(resolve, 300));
      equal(watch.seen, []);
      equal(globalThis.pwned, undefined);
      equal(await node("foreignRequests"), []);
      equal(await node("console"), [], "console");
    } finally {
      watch.end();
    }
  });
}

/** Reads all in every way, and shows it as a careful page does: text as text, media by their URLs. */
async function show(space, count, foreign) {
  const texts = textsOf(foreign);
  const media = mediaOf(foreign, await pngOf(space));
  const samples = await space.samples();
  equal(samples.length, count);
  const held = document.body.appendChild(document.createElement("main"));
  for (const [i, sample] of samples.entries()) {
    const text = texts[i % texts.length];
    equal([sample.label, sample.note, sample._anchor], [text, text, ORIGIN + BigInt(i)]);
    for (const name of NAMES) equal(sample[name], text, name);
    const [what, kind, bytes, type] = media[i % media.length];
    const shown = sample[kind];
    equal([...shown.bytes], [...bytes], what);
    equal(
      [shown.type, shown.url === undefined, shown.refusal?.code, shown.blob().type],
      type === undefined
        ? ["application/octet-stream", true, "SchemaViolation", "application/octet-stream"]
        : [type, false, undefined, type],
      what,
    );
    const figure = held.appendChild(document.createElement("figure"));
    write(figure.appendChild(document.createElement("figcaption")), text);
    write(figure.appendChild(document.createElement("option")), shown.refusal?.message ?? shown.type);
    if (shown.url === undefined) continue;
    equal((await fetch(shown.url)).headers.get("content-type"), type, what);
    for (const tag of new Set([ELEMENTS[kind], "img"])) await load(figure, tag, shown.url);
  }
  equal(held.querySelectorAll("figure").length, count);
  const tags = new Set([...held.querySelectorAll("*")].map(({ localName }) => localName));
  equal([...tags].sort(), ["audio", "figcaption", "figure", "img", "option", "video"]);

  for (const [i, text] of texts.entries()) {
    const [hits] = await space.query({ field: "v", query: [1, 1], where: { label: text }, topK: 5 });
    ok(hits.label.length > 0 && hits.label.every((each) => each === text), `not found: ${text}`);
    if (i % 9 === 0)
      for (const name of NAMES)
        equal((await space.samples({ where: { [name]: text, note: { eq: text } } })).length >= 1, true, name);
    write(held.appendChild(document.createElement("p")), hits.note[0]);
    const error = await fails(space.snapshot(`a ${text}`), "InvalidName");
    write(held.appendChild(document.createElement("p")), error.message);
    const wrong = await fails(space.samples({ where: { [`a ${text}`]: 1 } }), "InvalidArgument");
    write(held.appendChild(document.createElement("p")), wrong.message);
  }
  for (const address of ["javascript:pwned=true", `data:text/html,${texts[2]}`, "blob:x", "about:blank"]) {
    const error = await DreamDBSpace.fromUri(`${address}/refs/main`).catch((reason) => reason);
    ok(/^(InvalidUri|InvalidName|UnsupportedBackend)$/.test(error.code), `${address}: ${error.message}`);
  }
  samples.revoke();
  held.remove();
}

/** Shows text in every place that takes it. */
function write(element, text) {
  element.textContent = text;
  element.title = text;
  element.lang = text;
  element.setAttribute("aria-label", text);
  element.dataset.label = text;
  equal([element.textContent, element.children.length], [text, 0]);
}

/** Whether it can be shown or not: nothing is to come of it. */
function load(parent, tag, url) {
  const element = document.createElement(tag);
  return new Promise((resolve) => {
    for (const type of ["load", "loadeddata", "error"]) element.addEventListener(type, resolve);
    setTimeout(resolve, 1000);
    element.src = url;
    parent.append(element);
  });
}

/** The one picture of the dataset that is one: both sides make the others from it. */
async function pngOf(space) {
  for (const { image } of await space.samples()) if (image?.type === "image/png") return image.bytes;
  throw new Error("no picture");
}

/** Notes what a page must not do, nor say. */
function watchPage() {
  const seen = [];
  const undo = [];
  const listen = (type, note) => {
    const heard = (event) => {
      seen.push(`${type}: ${note(event)}`);
      event.stopImmediatePropagation();
    };
    addEventListener(type, heard, true);
    undo.push(() => removeEventListener(type, heard, true));
  };
  listen(
    "securitypolicyviolation",
    ({ violatedDirective, blockedURI }) => `${violatedDirective} ${blockedURI}`,
  );
  listen("unhandledrejection", ({ reason }) => reason);
  // Errors of elements that can't show what they were given are expected; those of scripts are not.
  const script = ({ target, message }) => target === window && seen.push(`error: ${message}`);
  addEventListener("error", script, true);
  undo.push(() => removeEventListener("error", script, true));
  const replace = (of, name) => {
    const own = of[name];
    of[name] = (...args) => void seen.push(`${name}: ${args.join(" ")}`);
    undo.push(() => {
      of[name] = own;
    });
  };
  for (const name of ["alert", "confirm", "prompt", "print", "open"]) replace(window, name);
  for (const name of ["error", "warn"]) replace(console, name);
  return {
    seen,
    clear: () => seen.splice(0),
    end: () => {
      for (const each of undo) each();
    },
    /** Does what must not be done, so that it is known to be seen: markup as markup, with a script and a foreign picture. */
    async control(foreign) {
      const held = document.body.appendChild(document.createElement("div"));
      held.innerHTML = `<img src="${foreign}/control"><img src="blob:x" onerror="alert(1)">`;
      alert("control");
      console.error(`${foreign}/control`);
      await new Promise((resolve) => setTimeout(resolve, 300));
      held.remove();
      const kinds = ["img-src", "script-src", "alert", "error"].filter((word) =>
        seen.some((line) => line.includes(word)),
      );
      equal(kinds, ["img-src", "script-src", "alert", "error"], "what is seen of the control");
    },
  };
}
