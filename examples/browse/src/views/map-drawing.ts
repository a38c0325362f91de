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
  /** What a row is drawn as in a close view, in place of a point, or beside it. */
  pictureOf(row: number): ImageBitmap | undefined;
  titleOf(row: number): string;
}

/** No more rows than these in view: it is close enough for pictures and titles. */
export const CLOSE_ROWS = 120;
const PICTURE_SIZE = 34;
const TITLE_FONT = "12px system-ui, sans-serif";
const TITLE_HEIGHT = 15;
const LONGEST_TITLE = 26;

/** More points than these are squares. */
const MOST_DISCS = 8000;
const TAU = 2 * Math.PI;

export interface Palette {
  points: readonly string[];
  text: string;
  ground: string;
  surface: string;
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
    surface: read("--surface"),
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
    const isPicture = seen <= CLOSE_ROWS && look.pictureOf(row) !== undefined;
    context.beginPath();
    context.arc(screenX(row), screenY(row), isPicture ? PICTURE_SIZE * 0.62 : size, 0, TAU);
    context.fillStyle = palette.points[look.colourOf(row)] ?? palette.faint;
    if (!isPicture) context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = stroke;
    context.stroke();
  };
  for (const row of [...(look.hits ?? [])].reverse()) ring(row, Math.max(4, radius + 1.5), palette.ground);
  if (seen <= CLOSE_ROWS) {
    const hits = look.hits === undefined ? undefined : new Set(look.hits);
    drawClose(context, groups.flat(), (row) => [screenX(row), screenY(row)], radius, look, palette, hits);
  }
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

/** Pictures in place of points, and titles where they have room. What is no hit steps back. */
function drawClose(
  context: CanvasRenderingContext2D,
  rows: readonly number[],
  placeOf: (row: number) => [x: number, y: number],
  radius: number,
  look: MapLook,
  palette: Palette,
  hits: ReadonlySet<number> | undefined,
): void {
  const taken: [left: number, top: number, right: number, bottom: number][] = [];
  context.font = TITLE_FONT;
  context.textBaseline = "middle";
  for (const row of rows) {
    const [x, y] = placeOf(row);
    context.globalAlpha = hits === undefined || hits.has(row) ? 1 : 0.3;
    const picture = look.pictureOf(row);
    if (picture !== undefined) {
      const scale = PICTURE_SIZE / Math.max(picture.width, picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      context.fillStyle = palette.surface;
      context.beginPath();
      context.arc(x, y, radius + 1, 0, TAU);
      context.fill();
      context.drawImage(picture, x - width / 2, y - height / 2, width, height);
      context.fillStyle = palette.points[look.colourOf(row)] ?? palette.faint;
      context.beginPath();
      context.arc(x, y + PICTURE_SIZE / 2 + 4, 2.5, 0, TAU);
      context.fill();
      continue;
    }
    const title = shortened(look.titleOf(row));
    const left = x + radius + 4;
    const box = [
      left,
      y - TITLE_HEIGHT / 2,
      left + context.measureText(title).width,
      y + TITLE_HEIGHT / 2,
    ] as const;
    if (taken.some((other) => overlap(box, other))) continue;
    taken.push([...box]);
    context.fillStyle = palette.text;
    context.fillText(title, left, y);
  }
  context.globalAlpha = 1;
}

type Box = readonly [left: number, top: number, right: number, bottom: number];

function overlap(a: Box, b: Box): boolean {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function shortened(title: string): string {
  return title.length > LONGEST_TITLE ? `${title.slice(0, LONGEST_TITLE - 1)}…` : title;
}
