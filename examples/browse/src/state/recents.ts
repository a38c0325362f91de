/** Addresses that were opened here before, the latest first, kept by the browser where it lets us. */
const KEY = "dreamdb-browse.recents";
const MOST = 8;

export function recents(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => typeof each === "string").slice(0, MOST) : [];
  } catch {
    return [];
  }
}

export function remember(url: string): void {
  keep([url, ...recents().filter((each) => each !== url)].slice(0, MOST));
}

export function forget(url: string): void {
  keep(recents().filter((each) => each !== url));
}

function keep(urls: readonly string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(urls));
  } catch {
    // Storage that is full or forbidden: the page does without.
  }
}
