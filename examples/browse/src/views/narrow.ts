import { type Signal, signal } from "@preact/signals";

const narrow = matchMedia("(max-width: 760px)");

/** Whether panels cover the page in place of standing beside it. */
export const isNarrow: Signal<boolean> = signal(narrow.matches);

narrow.addEventListener("change", () => {
  isNarrow.value = narrow.matches;
});
