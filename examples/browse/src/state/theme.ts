import { effect, type Signal, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "dreamdb-browse.theme";

export const theme: Signal<Theme> = signal(kept());

/** Whether dark colours are shown now. */
export const isDark: Signal<boolean> = signal(false);

const dark = matchMedia("(prefers-color-scheme: dark)");
const tell = () => {
  isDark.value = theme.value === "dark" || (theme.value === "system" && dark.matches);
};
dark.addEventListener("change", tell);

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  tell();
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // The choice lasts as long as the page.
  }
});

function kept(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return found === "light" || found === "dark" ? found : "system";
  } catch {
    return "system";
  }
}
