/**
 * Scrolling through more than an element may be high: Firefox cuts them off at 17.9 million pixels, Chromium at 33.5 million of the
 * screen's own, of which a phone has three to each of the page. Beyond `MOST_HEIGHT` the scroll bar tells a part of the whole,
 * while wheel, fingers and keys go on by their own pixels from where it stands.
 */
export const MOST_HEIGHT = 5_000_000;
const EDGE_VIEWS = 20;

/** All in CSS pixels. */
export interface Extent {
  /** Of all rows. */
  whole: number;
  /** Of what is in view. */
  view: number;
}

export interface Scroll {
  /** Where the view begins among all rows. */
  top: number;
  /** Where it begins in the box: its `scrollTop`. */
  bar: number;
}

export function boxHeight(whole: number): number {
  return Math.min(whole, MOST_HEIGHT);
}

/** The box at a place among all rows. */
export function scrollAt(top: number, extent: Extent): Scroll {
  const [mostTop, mostBar] = ends(extent);
  const to = Math.max(0, Math.min(mostTop, top));
  return { top: to, bar: Math.round(between(to, mostTop, mostBar, extent)) };
}

/** Where the box is after it went from `before` to `bar`. Where that is another `bar`, the box is to go there unseen. */
export function scrolledTo(before: Scroll, bar: number, extent: Extent): Scroll {
  const [mostTop, mostBar] = ends(extent);
  if (mostTop === mostBar) return { top: bar, bar };
  const moved = bar - before.bar;
  // Farther than a wheel goes at once: the bar was drawn there.
  if (Math.abs(moved) > 2 * extent.view) return { top: between(bar, mostBar, mostTop, extent), bar };
  const top = Math.max(0, Math.min(mostTop, before.top + moved));
  const isAtEnd = bar <= 0 || bar >= mostBar;
  return isAtEnd ? scrollAt(top, extent) : { top, bar };
}

/**
 * A place of one length in the other. Pixel for pixel near both ends, so that a wheel gets there; what lies between them is drawn
 * out, or together.
 */
function between(at: number, most: number, mostThere: number, { view }: Extent): number {
  if (most === mostThere) return at;
  const edge = Math.min(EDGE_VIEWS * view, Math.min(most, mostThere) / 4);
  if (at <= edge) return at;
  if (most - at <= edge) return mostThere - (most - at);
  return edge + ((at - edge) / (most - 2 * edge)) * (mostThere - 2 * edge);
}

function ends({ whole, view }: Extent): [top: number, bar: number] {
  return [Math.max(0, whole - view), Math.max(0, boxHeight(whole) - view)];
}
