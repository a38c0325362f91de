// Tells Node when the suite can't begin, for a module that is missing or can't be parsed, and when the page is left before its end.
const tell = (name, error) =>
  navigator.sendBeacon(
    `${location.origin}/finished`,
    JSON.stringify([{ name: `the page ${name}`, ms: 0, error }]),
  );

addEventListener(
  "error",
  ({ message, target }) => {
    if (globalThis.hasBegun) return;
    tell("is loaded", message ?? `not loaded: ${target?.src}`);
  },
  true,
);
addEventListener("pagehide", () => tell("stays", "something led away from it"));
