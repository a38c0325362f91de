import { type ReadonlySignal, useSignal, useSignalEffect } from "@preact/signals";
import type { Workspace } from "../state/workspace.ts";
import type { Camera } from "./map-drawing.ts";
import type { MapPoints } from "./map-points.ts";
import { colourClass, coloursOf } from "./palette.ts";

const MOST = 40;
/** The list follows the map when it rests. */
const REST_MS = 150;

interface MapNearProps {
  workspace: Workspace;
  points: ReadonlySignal<MapPoints>;
  camera: ReadonlySignal<Camera>;
  size: ReadonlySignal<{ width: number; height: number }>;
  isIn: ReadonlySignal<(row: number) => boolean>;
  hits: ReadonlySignal<readonly number[] | undefined>;
}

/** The map as a list, for keyboards and screen readers: hits, or what is nearest to the middle of the view. */
export function MapNear({ workspace, points, camera, size, isIn, hits }: MapNearProps) {
  const { catalogue, colouredBy, selected } = workspace;
  const rows = useSignal<readonly number[]>([]);
  useSignalEffect(() => {
    const [all, view, { width, height }, test, found] = [
      points.value,
      camera.value,
      size.value,
      isIn.value,
      hits.value,
    ];
    const timer = setTimeout(() => {
      rows.value = found?.slice(0, MOST) ?? nearTo(all, view, width, height, test);
    }, REST_MS);
    return () => clearTimeout(timer);
  });
  const facet = colouredBy.value;
  const colours = facet === undefined ? undefined : coloursOf(catalogue.value, facet);
  return (
    <section class="near" aria-labelledby="near">
      <h2 id="near">{hits.value === undefined ? "In the middle" : "Nearest first"}</h2>
      <ul>
        {rows.value.map((row) => {
          const anchor = catalogue.value.anchors[row] as bigint;
          return (
            <li key={row}>
              <button
                type="button"
                class="near-entry"
                aria-pressed={selected.value === anchor}
                onClick={() => {
                  selected.value = anchor;
                }}
              >
                <span class={`dot ${colourClass(colours?.get(catalogue.value.valueOf(facet, row)))}`} />
                <bdi>{catalogue.value.titles[row]}</bdi>
              </button>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function nearTo(
  points: MapPoints,
  { x, y, scale }: Camera,
  width: number,
  height: number,
  isIn: (row: number) => boolean,
): number[] {
  const [halfWidth, halfHeight] = [width / 2 / scale, height / 2 / scale];
  // Rings around the middle until there are enough: in a crowd the first is small.
  for (let part = 1 / 32; ; part *= 2) {
    const found: [number, number][] = [];
    const [w, h] = [halfWidth * part, halfHeight * part];
    points.each(x - w, y - h, x + w, y + h, (row) => {
      const [dx, dy] = [(points.x[row] as number) - x, (points.y[row] as number) - y];
      if (Math.abs(dx) <= halfWidth && Math.abs(dy) <= halfHeight && isIn(row))
        found.push([dx * dx + dy * dy, row]);
    });
    if (found.length >= MOST || part >= 1)
      return found
        .sort(([a], [b]) => a - b)
        .slice(0, MOST)
        .map(([, row]) => row);
  }
}
