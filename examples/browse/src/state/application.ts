/** What the page shows: nothing yet, a dataset being opened, one that is open, or why one can't be. Keeps the address in step. */
import type { SpaceProgress } from "@dreamlake/dreamdb/space";
import { effect, type Signal, signal } from "@preact/signals";
import { announce } from "./announce.ts";
import { formatPlace, type Place, parsePlace } from "./place.ts";
import { remember } from "./recents.ts";
import { Travels } from "./travels.ts";
import { Workspace } from "./workspace.ts";

export type Stage =
  | { is: "start" }
  | { is: "opening"; url: string; progress: Signal<SpaceProgress | undefined> }
  | { is: "open"; workspace: Workspace }
  | { is: "failed"; url: string; error: unknown };

export const stage: Signal<Stage> = signal({ is: "start" });

let opening = new AbortController();

/** Opens a dataset in place of the one that is open. */
export async function open(url: string, place: Place = parsePlace("")): Promise<void> {
  opening.abort();
  opening = new AbortController();
  const { signal: ender } = opening;
  const progress = signal<SpaceProgress | undefined>(undefined);
  leaveFor({ is: "opening", url, progress });
  if (parsePlace(location.search).open !== url)
    history.pushState(null, "", formatPlace({ ...place, open: url }));
  try {
    const travels = await Travels.open(resolved(url), place.at, ender, (told) => {
      progress.value = told;
    });
    if (ender.aborted) return void travels.close();
    const workspace = new Workspace(travels, place);
    stage.value = { is: "open", workspace };
    remember(url);
    announce(`${travels.base.name} is open.`);
  } catch (error) {
    if (ender.aborted) return;
    stage.value = { is: "failed", url, error };
  }
}

/** Back to where an address is asked for. */
export function start(): void {
  opening.abort();
  leaveFor({ is: "start" });
  history.pushState(null, "", location.pathname);
}

/** The address is no more told by what is left: that ends after the page has turned to what comes. */
function leaveFor(next: Stage): void {
  const before = stage.peek();
  stage.value = next;
  if (before.is === "open") void before.workspace.close().catch(() => undefined);
}

/** Addresses may be relative to the page: a bucket beside it needs no origin. */
function resolved(url: string): string {
  try {
    return new URL(url, document.baseURI).href;
  } catch {
    return url;
  }
}

/** Follows the address, from now on. */
export function follow(): void {
  const go = (): void => {
    const place = parsePlace(location.search);
    const now = stage.peek();
    if (place.open === undefined) {
      opening.abort();
      leaveFor({ is: "start" });
    } else if (now.is === "open" && now.workspace.travels.url === resolved(place.open)) {
      void now.workspace.returnTo(place);
    } else void open(place.open, place);
  };
  addEventListener("popstate", go);
  go();
  effect(() => {
    const now = stage.value;
    if (now.is === "open") tell(now.workspace);
  });
}

/** Writes what is shown into the address. What was asked, and when, can be gone back to; the rest replaces what was there. */
function tell({ travels, view, question, selected, filters }: Workspace): void {
  const before = parsePlace(location.search);
  const asked = question.value;
  const place: Place = {
    open: before.open ?? travels.url,
    at: travels.isPast.value ? travels.shown.value.manifest : undefined,
    view: view.value,
    field: asked?.by === "picture" ? undefined : asked?.field,
    text: asked?.by === "text" ? asked.text : undefined,
    like: asked?.by === "record" ? asked.anchor : undefined,
    record: selected.value,
    filters: filters.value,
  };
  const address = formatPlace(place);
  if (address === formatPlace(before)) return;
  const isStep = place.text !== before.text || place.like !== before.like || place.at !== before.at;
  if (isStep) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}
