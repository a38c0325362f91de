/** Draws a map on a canvas. Points of one colour are drawn together, which is what makes a hundred thousand of them quick. */

import type { MapPoints } from "./map-points.ts";
import { COLOURS } from "./palette.ts";

/** The middle of the view in the points' units, and CSS pixels a unit. */
export interface Camera {
  x: number;
  y: number;
  scale: number;
}

export interface MapLook {
  /** Colour of each row, 0 for those of no frequent category. */
  colourOf(row: number): number;
  /** Whether a row passes the filters; the others are hardly seen. */
  isIn(row: number): boolean;
  /** Hits, nearest first. */
  hits: readonly number[] | undefined;
  selected: number;
  hovered: number;
}

/** More points than these are squares. */
const MOST_DISCS = 8000;
const TAU = 2 * Math.PI;

export interface Palette {
  points: readonly string[];
  text: string;
  ground: string;
  faint: string;
}

/** The colours that tokens.css has for the theme of now. */
export function paletteOf(probe: HTMLElement): Palette {
  const read = (name: string): string => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  return {
    points: Array.from({ length: COLOURS + 1 }, (_, i) => read(`--colour-${i}`)),
    text: read("--text"),
    ground: read("--ground"),
    faint: read("--line-strong"),
  };
}

export function drawMap(
  context: CanvasRenderingContext2D,
  { width, height }: { width: number; height: number },
  points: MapPoints,
  camera: Camera,
  look: MapLook,
  palette: Palette,
): void {
  context.clearRect(0, 0, width, height);
  const screenX = (row: number) => ((points.x[row] as number) - camera.x) * camera.scale + width / 2;
  const screenY = (row: number) => ((points.y[row] as number) - camera.y) * camera.scale + height / 2;
  const groups: number[][] = Array.from({ length: COLOURS + 1 }, () => []);
  const out: number[] = [];
  let seen = 0;
  const [halfWidth, halfHeight] = [width / 2 / camera.scale, height / 2 / camera.scale];
  points.each(
    camera.x - halfWidth,
    camera.y - halfHeight,
    camera.x + halfWidth,
    camera.y + halfHeight,
    (row) => {
      seen++;
      if (look.isIn(row)) groups[look.colourOf(row)]?.push(row);
      else out.push(row);
    },
  );
  const radius = radiusOf(seen, width, height);
  const areDiscs = seen <= MOST_DISCS;
  const plot = (rows: readonly number[], size: number): void => {
    context.beginPath();
    for (const row of rows) {
      const [x, y] = [screenX(row), screenY(row)];
      if (areDiscs) {
        context.moveTo(x + size, y);
        context.arc(x, y, size, 0, TAU);
      } else context.rect(x - size, y - size, 2 * size, 2 * size);
    }
    context.fill();
  };
  context.globalAlpha = 0.5;
  context.fillStyle = palette.faint;
  plot(out, Math.max(0.6, radius * 0.5));
  // Hits stand out of what lies around them.
  context.globalAlpha = look.hits === undefined ? 0.85 : 0.22;
  for (const [colour, rows] of groups.entries()) {
    context.fillStyle = palette.points[colour] ?? palette.faint;
    plot(rows, radius);
  }
  context.globalAlpha = 1;
  const ring = (row: number, size: number, stroke: string): void => {
    context.beginPath();
    context.arc(screenX(row), screenY(row), size, 0, TAU);
    context.fillStyle = palette.points[look.colourOf(row)] ?? palette.faint;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = stroke;
    context.stroke();
  };
  for (const row of [...(look.hits ?? [])].reverse()) ring(row, Math.max(4, radius + 1.5), palette.ground);
  const best = look.hits?.[0];
  if (best !== undefined) ring(best, Math.max(6, radius + 3), palette.text);
  for (const row of [look.selected, look.hovered])
    if (row >= 0) ring(row, Math.max(7, radius + 3), palette.text);
}

/** Points cover a tenth or so of the view, and stay visible one by one. */
function radiusOf(seen: number, width: number, height: number): number {
  const fitting = Math.sqrt((0.1 * width * height) / Math.max(1, seen) / Math.PI);
  return Math.max(1, Math.min(6, fitting));
}
