import { type ReadonlySignal, useSignal, useSignalEffect } from "@preact/signals";
import { freeRow, type Row, readRow } from "../state/row.ts";
import type { Workspace } from "../state/workspace.ts";
import { Picture } from "./picture.tsx";

const REST_MS = 60;
const OFFSET = 14;
const WIDTH = 190;

interface MapTipProps {
  workspace: Workspace;
  row: ReadonlySignal<number>;
  pointer: ReadonlySignal<{ x: number; y: number }>;
  size: ReadonlySignal<{ width: number; height: number }>;
}

/** The record under the pointer. */
export function MapTip({ workspace, row, pointer, size }: MapTipProps) {
  const { catalogue, shape, travels, colouredBy } = workspace;
  const read = useSignal<Row | undefined>(undefined);
  useSignalEffect(() => {
    const { picture } = shape.value;
    const anchor = row.value < 0 ? undefined : catalogue.peek().anchors[row.value];
    if (anchor === undefined || picture === undefined) return;
    const ender = new AbortController();
    let own: Row | undefined;
    const timer = setTimeout(() => {
      readRow(travels.shown.peek(), anchor, [picture], ender.signal)
        .then((found) => {
          if (found === undefined) return;
          if (ender.signal.aborted) return freeRow(found);
          own = found;
          read.value = found;
        })
        // The title is there all the same.
        .catch(() => {});
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      ender.abort();
      if (own !== undefined) freeRow(own);
      read.value = undefined;
    };
  });
  const at = row.value;
  if (at < 0) return null;
  const { picture } = shape.value;
  const { x, y } = pointer.value;
  const isLeft = x + OFFSET + WIDTH > size.value.width;
  const isUp = y > size.value.height / 2;
  const place = `translate(${isLeft ? x - OFFSET - WIDTH : x + OFFSET}px, ${isUp ? y - OFFSET : y + OFFSET}px) translateY(${isUp ? "-100%" : "0"})`;
  return (
    <div class="map-tip" style={{ transform: place, width: `${WIDTH}px` }} aria-hidden="true">
      {picture !== undefined && (
        <Picture media={read.value?.media.get(picture)} isRead={read.value !== undefined} />
      )}
      <b>
        <bdi>{catalogue.value.titles[at]}</bdi>
      </b>
      <bdi>{catalogue.value.valueOf(colouredBy.value, at)}</bdi>
    </div>
  );
}
