import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { passing } from "../state/filters.ts";
import { isDark } from "../state/theme.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { type Camera, CLOSE_ROWS, drawMap, type Palette, paletteOf } from "./map-drawing.ts";
import { MapLegend } from "./map-legend.tsx";
import { MapNear } from "./map-near.tsx";
import { MapPictures } from "./map-pictures.ts";
import { MapPoints } from "./map-points.ts";
import { MapTip } from "./map-tip.tsx";
import { coloursOf } from "./palette.ts";
import { count } from "./words.ts";

/** How near a pointer has to be, in CSS pixels. */
const REACH = 16;
const MOST_ZOOM = 200;
const STEP = 1.35;
/** A map that stood still for so long is looked at. */
const REST_MS = 200;

/** Records by their place, coloured by a category. */
export function MapView({ workspace }: { workspace: Workspace }) {
  const { catalogue, colouredBy, filters, hits, selected } = workspace;
  const canvas = useRef<HTMLCanvasElement>(null);
  const probe = useRef<HTMLSpanElement>(null);
  const size = useSignal({ width: 0, height: 0 });
  const moved = useSignal<Camera | undefined>(undefined);
  const hovered = useSignal(-1);
  const pointer = useSignal({ x: 0, y: 0 });
  const palette = useSignal<Palette | undefined>(undefined);
  const points = useComputed(() => {
    const { x, y, rows } = catalogue.value;
    return new MapPoints(x, y, rows.value);
  });
  /** All of it, until someone moves. */
  const camera = useComputed<Camera>(() => {
    if (moved.value !== undefined) return moved.value;
    const { left, top, side } = points.value;
    const { width, height } = size.value;
    return {
      x: left + side / 2,
      y: top + side / 2,
      scale: (0.92 * Math.max(1, Math.min(width, height))) / side,
    };
  });
  const isIn = useComputed(() => {
    const mask = passing(catalogue.value, filters.value);
    return (row: number) => mask[row] === 1;
  });
  const colourOf = useComputed(() => {
    const facet = colouredBy.value;
    const column = facet === undefined ? undefined : catalogue.value.facets.get(facet);
    if (facet === undefined || column === undefined) return () => 1;
    const colours = coloursOf(catalogue.value, facet);
    const byCode = column.values.map((value) => colours.get(value) ?? 0);
    return (row: number) => byCode[column.codes[row] as number] ?? 0;
  });
  const hitRows = useComputed(() => {
    const found = hits.value;
    if (found === undefined) return undefined;
    const rows = Array.from({ length: found.length }, (_, i) => catalogue.value.rowOf(found.anchorAt(i)));
    return rows.filter((row) => row >= 0);
  });

  useLayoutEffect(() => {
    const { current } = canvas;
    if (current === null) return;
    const measure = () => {
      size.value = { width: current.clientWidth, height: current.clientHeight };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(current);
    measure();
    return () => observer.disconnect();
  }, []);

  useSignalEffect(() => {
    isDark.value;
    if (probe.current !== null) palette.value = paletteOf(probe.current);
  });

  const pictures = useComputed(() => {
    const { picture } = workspace.shape.value;
    return picture === undefined ? undefined : new MapPictures(workspace.travels.shown.value, picture);
  });
  useSignalEffect(() => {
    const { value } = pictures;
    return () => value?.close();
  });
  // Where the map rests in a close view, its pictures are read.
  useSignalEffect(() => {
    const [held, all, { x, y, scale }, { width, height }] = [
      pictures.value,
      points.value,
      camera.value,
      size.value,
    ];
    const test = isIn.value;
    if (held === undefined || width === 0) return;
    const timer = setTimeout(() => {
      const [halfWidth, halfHeight] = [width / 2 / scale, height / 2 / scale];
      const rows: number[] = [];
      all.each(x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight, (row) => rows.push(row));
      const close = rows.length > CLOSE_ROWS ? [] : rows.filter(test);
      held.show(close.map((row) => catalogue.peek().anchors[row] as bigint));
    }, REST_MS);
    return () => clearTimeout(timer);
  });

  const frame = useRef(0);
  useSignalEffect(() => {
    const { current } = canvas;
    const { width, height } = size.value;
    const found = palette.value;
    const look = {
      colourOf: colourOf.value,
      isIn: isIn.value,
      hits: hitRows.value,
      selected: selected.value === undefined ? -1 : catalogue.value.rowOf(selected.value),
      hovered: hovered.value,
      pictureOf: (row: number) => pictures.peek()?.of(catalogue.peek().anchors[row] as bigint),
      titleOf: (row: number) => (pictures.peek() === undefined ? (catalogue.peek().titles[row] ?? "") : ""),
    };
    pictures.value?.version.value;
    const [all, view] = [points.value, camera.value];
    if (current === null || found === undefined || width === 0) return;
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => {
      const ratio = devicePixelRatio;
      current.width = Math.round(width * ratio);
      current.height = Math.round(height * ratio);
      const context = current.getContext("2d") as CanvasRenderingContext2D;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      drawMap(context, { width, height }, all, view, look, found);
    });
  });

  const at = (x: number, y: number) => {
    const { width, height } = size.peek();
    const { x: cx, y: cy, scale } = camera.peek();
    return { x: (x - width / 2) / scale + cx, y: (y - height / 2) / scale + cy };
  };
  const zoom = (factor: number, x = size.peek().width / 2, y = size.peek().height / 2) => {
    const before = camera.peek();
    const fit = Math.min(size.peek().width, size.peek().height) / points.peek().side;
    const scale = Math.max(fit / 2, Math.min(fit * MOST_ZOOM, before.scale * factor));
    const fixed = at(x, y);
    const k = before.scale / scale;
    moved.value = { x: fixed.x + (before.x - fixed.x) * k, y: fixed.y + (before.y - fixed.y) * k, scale };
  };
  const pan = (dx: number, dy: number) => {
    const { x, y, scale } = camera.peek();
    moved.value = { x: x - dx / scale, y: y - dy / scale, scale };
  };
  const rowAt = (x: number, y: number) => {
    const place = at(x, y);
    return points.peek().nearest(place.x, place.y, REACH / camera.peek().scale, isIn.peek());
  };

  useMapGestures(canvas, { zoom, pan, hover, pick });

  function hover(x: number, y: number): void {
    pointer.value = { x, y };
    hovered.value = x < 0 ? -1 : rowAt(x, y);
  }
  function pick(x: number, y: number): void {
    const row = rowAt(x, y);
    if (row >= 0) selected.value = catalogue.peek().anchors[row] as bigint;
  }

  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Record<string, () => void> = {
      ArrowLeft: () => pan(60, 0),
      ArrowRight: () => pan(-60, 0),
      ArrowUp: () => pan(0, 60),
      ArrowDown: () => pan(0, -60),
      "+": () => zoom(STEP),
      "=": () => zoom(STEP),
      "-": () => zoom(1 / STEP),
      "0": () => {
        moved.value = undefined;
      },
    };
    const move = event.ctrlKey || event.metaKey ? undefined : moves[event.key];
    if (move === undefined) return;
    move();
    event.preventDefault();
  };

  return (
    <div class="map">
      <div class="map-area">
        {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: it takes keys and pointers of its own */}
        <canvas
          ref={canvas}
          tabIndex={0}
          role="application"
          aria-label={`Map of ${count(catalogue.value.rows.value)} records. Arrow keys move it, plus and minus zoom, 0 shows all. The list beside it has the records in the middle.`}
          onKeyDown={onKeyDown}
        />
        <span ref={probe} class="probe" aria-hidden="true" />
        <div class="map-buttons">
          <button type="button" class="button icon-only" aria-label="Zoom in" onClick={() => zoom(STEP)}>
            <Icon name="plus" />
          </button>
          <button type="button" class="button icon-only" aria-label="Zoom out" onClick={() => zoom(1 / STEP)}>
            <Icon name="minus" />
          </button>
          <button
            type="button"
            class="button icon-only"
            aria-label="Show all of the map"
            onClick={() => {
              moved.value = undefined;
            }}
          >
            <Icon name="whole" />
          </button>
        </div>
        <MapTip workspace={workspace} row={hovered} pointer={pointer} size={size} />
      </div>
      <div class="map-side">
        <MapLegend workspace={workspace} />
        <MapNear
          workspace={workspace}
          points={points}
          camera={camera}
          size={size}
          isIn={isIn}
          hits={hitRows}
        />
      </div>
    </div>
  );
}

interface Gestures {
  zoom(factor: number, x: number, y: number): void;
  pan(dx: number, dy: number): void;
  /** Negative places: the pointer has left. */
  hover(x: number, y: number): void;
  pick(x: number, y: number): void;
}

/** A pointer that moved further than this drags. */
const CLICK_SLACK = 4;

/** One pointer moves the map, two zoom it, a wheel too; a click picks. */
function useMapGestures(canvas: { current: HTMLCanvasElement | null }, gestures: Gestures): void {
  const latest = useRef(gestures);
  latest.current = gestures;
  useEffect(() => {
    const { current } = canvas;
    if (current === null) return;
    const ender = new AbortController();
    const { signal } = ender;
    const down = new Map<number, { x: number; y: number }>();
    let travelled = 0;
    const place = (event: MouseEvent) => {
      const { left, top } = current.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    const spread = () => {
      const [a, b] = [...down.values()];
      return a === undefined || b === undefined
        ? undefined
        : { d: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    };
    current.addEventListener(
      "pointerdown",
      (event) => {
        if (down.size === 0) travelled = 0;
        down.set(event.pointerId, place(event));
        current.setPointerCapture(event.pointerId);
      },
      { signal },
    );
    current.addEventListener(
      "pointermove",
      (event) => {
        const now = place(event);
        const last = down.get(event.pointerId);
        if (last === undefined) return latest.current.hover(now.x, now.y);
        const before = spread();
        down.set(event.pointerId, now);
        const after = spread();
        travelled += Math.hypot(now.x - last.x, now.y - last.y);
        if (before !== undefined && after !== undefined) {
          latest.current.zoom(after.d / Math.max(1, before.d), after.x, after.y);
          latest.current.pan(after.x - before.x, after.y - before.y);
        } else if (travelled > CLICK_SLACK) {
          latest.current.hover(-1, -1);
          latest.current.pan(now.x - last.x, now.y - last.y);
        }
      },
      { signal },
    );
    const up = (event: PointerEvent) => {
      const now = place(event);
      if (
        down.delete(event.pointerId) &&
        event.type === "pointerup" &&
        travelled <= CLICK_SLACK &&
        down.size === 0
      )
        latest.current.pick(now.x, now.y);
    };
    current.addEventListener("pointerup", up, { signal });
    current.addEventListener("pointercancel", up, { signal });
    current.addEventListener("pointerleave", () => latest.current.hover(-1, -1), { signal });
    current.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const { x, y } = place(event);
        latest.current.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
      },
      { signal, passive: false },
    );
    return () => ender.abort();
  }, []);
}
