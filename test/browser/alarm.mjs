// Tells Node when the suite can't even begin: a module that is missing or can't be parsed.
addEventListener(
  "error",
  ({ message, target }) => {
    if (globalThis.hasBegun) return;
    const error = message ?? `not loaded: ${target?.src}`;
    fetch("/finished", { method: "POST", body: JSON.stringify([{ name: "the page loads", ms: 0, error }]) });
  },
  true,
);
