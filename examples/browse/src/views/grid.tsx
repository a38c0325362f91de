/**
 * Records in rows and columns. Only those in view are in the document, whatever their number. One cell takes part in the order
 * of the Tab key; arrows move from there.
 */
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { positionOf } from "../state/listing.ts";
import type { Workspace } from "../state/workspace.ts";
import { Card } from "./card.tsx";
import { layoutOf, ROWS_AROUND } from "./grid-layout.ts";
import { boxHeight, type Extent, type Scroll, scrollAt, scrolledTo } from "./long-scroll.ts";

const REST_MS = 150;

export function Grid({ workspace }: { workspace: Workspace }) {
  const { listing, records, selected, shape } = workspace;
  const box = useRef<HTMLDivElement>(null);
  const size = useSignal({ width: 0, height: 0 });
  const scroll = useSignal<Scroll>({ top: 0, bar: 0 });
  /** The cell of the Tab key. */
  const active = useSignal(0);
  const hasPictures = shape.value.picture !== undefined;
  const layout = useComputed(() => layoutOf(size.value.width, hasPictures));
  const extent = useComputed<Extent>(() => {
    const { columns, rowHeight } = layout.value;
    return { whole: Math.ceil(listing.value.length / columns) * rowHeight, view: size.value.height };
  });
  const rows = Math.ceil(listing.value.length / layout.value.columns);
  const visible = useComputed(() => {
    const { rowHeight, columns } = layout.value;
    const last = Math.ceil(listing.value.length / columns) - 1;
    const { top } = scroll.value;
    const from = Math.max(0, Math.floor(top / rowHeight) - ROWS_AROUND);
    const to = Math.min(last, Math.floor((top + size.value.height) / rowHeight) + ROWS_AROUND);
    return { from, to };
  });

  useLayoutEffect(() => {
    const { current } = box;
    if (current === null) return;
    const measure = () => {
      const { paddingLeft, paddingRight } = getComputedStyle(current);
      const width = current.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight);
      size.value = { width, height: current.clientHeight };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(current);
    measure();
    return () => observer.disconnect();
  }, []);

  // Other records: from the first one on.
  useSignalEffect(() => {
    listing.value;
    active.value = 0;
    scroll.value = { top: 0, bar: 0 };
    if (box.current !== null) box.current.scrollTop = 0;
  });

  /** From where rows are among all to where they are in the box. */
  const shift = useComputed(() => scroll.value.bar - scroll.value.top);

  const scrollTo = (to: Scroll) => {
    scroll.value = to;
    const { current } = box;
    if (current !== null && Math.abs(current.scrollTop - to.bar) >= 1) current.scrollTop = to.bar;
  };

  // The bar of a long listing is brought to where the view is when that rests: a finger's throw would end with it.
  useSignalEffect(() => {
    const { top, bar } = scroll.value;
    const to = scrollAt(top, extent.value);
    if (boxHeight(extent.value.whole) === extent.value.whole || Math.abs(to.bar - bar) < 1) return;
    const timer = setTimeout(() => scrollTo(to), REST_MS);
    return () => clearTimeout(timer);
  });

  useSignalEffect(() => {
    const { columns } = layout.value;
    const { from, to } = visible.value;
    if (size.value.width > 0 && to >= from) records.value.show(from * columns, (to + 1) * columns - 1);
  });

  // A record that is selected elsewhere, on the map or by an address, is the one to go on from.
  useEffect(() => {
    const position = selected.value === undefined ? -1 : positionOf(listing.peek(), selected.value);
    if (position >= 0) active.value = position;
  }, [selected.value]);

  const go = (position: number, isFocused = true) => {
    const last = listing.peek().length - 1;
    const to = Math.max(0, Math.min(last, position));
    active.value = to;
    const { current } = box;
    if (current === null) return;
    const { rowHeight, columns } = layout.peek();
    const { top } = scroll.peek();
    const y = Math.floor(to / columns) * rowHeight;
    if (y < top) scrollTo(scrollAt(y, extent.peek()));
    else if (y + rowHeight > top + current.clientHeight)
      scrollTo(scrollAt(y + rowHeight - current.clientHeight, extent.peek()));
    if (isFocused)
      requestAnimationFrame(() => current.querySelector<HTMLElement>(`[data-position="${to}"]`)?.focus());
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    if (target.dataset.position === undefined) return;
    const { columns, rowHeight } = layout.peek();
    const perPage = Math.max(1, Math.floor(size.peek().height / rowHeight)) * columns;
    const at = active.peek();
    const isControl = event.ctrlKey || event.metaKey;
    const steps: Record<string, number> = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + columns,
      ArrowUp: at - columns,
      PageDown: at + perPage,
      PageUp: at - perPage,
      Home: isControl ? 0 : at - (at % columns),
      End: isControl ? listing.peek().length - 1 : at - (at % columns) + columns - 1,
    };
    const to = steps[event.key];
    const anchor = at < listing.peek().length ? listing.peek().anchorAt(at) : undefined;
    if (to !== undefined) go(event.key === "ArrowUp" && to < 0 ? at : to);
    else if ((event.key === "Enter" || event.key === " ") && anchor !== undefined) selected.value = anchor;
    else if (event.key === "l" && !isControl && anchor !== undefined) workspace.askLike(anchor);
    else if (event.key === "Escape" && selected.peek() !== undefined) selected.value = undefined;
    else return;
    event.preventDefault();
  };

  const { columns, rowHeight, cellWidth, cellHeight, gap } = layout.value;
  const { from, to } = visible.value;
  // Cells look at what was read since.
  records.value.version.value;
  const length = listing.value.length;
  const isEmpty =
    length === 0 && workspace.catalogue.value.isRead.value && workspace.phase.value.is === "idle";
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a grid, unless it is empty
    <div
      class={`grid${hasPictures ? "" : " of-text"}`}
      ref={box}
      {...(length === 0
        ? {}
        : { role: "grid", "aria-label": "Records", "aria-rowcount": rows, "aria-colcount": columns })}
      aria-busy={workspace.phase.value.is !== "idle"}
      onScroll={({ currentTarget: { scrollTop } }) => {
        scrollTo(scrolledTo(scroll.peek(), scrollTop, extent.peek()));
      }}
      onKeyDown={onKeyDown}
    >
      {isEmpty && (
        <p class="empty">No records{workspace.filters.value.size > 0 ? " match these filters" : ""}.</p>
      )}
      <div class="grid-rows" role="presentation" style={{ height: `${boxHeight(rows * rowHeight)}px` }}>
        {Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i).map((row) => (
          // biome-ignore lint/a11y/useFocusableInteractive: its cells are
          // biome-ignore lint/a11y/useSemanticElements: a virtual grid places its rows by transforms, which tables don't take
          <div
            key={row}
            class="grid-row"
            role="row"
            aria-rowindex={row + 1}
            style={{ transform: `translateY(${row * rowHeight + shift.value}px)`, gap: `${gap}px` }}
          >
            {Array.from({ length: Math.min(columns, length - row * columns) }, (_, column) => {
              const position = row * columns + column;
              const anchor = listing.value.anchorAt(position);
              return (
                <Card
                  key={column}
                  workspace={workspace}
                  anchor={anchor}
                  row={records.value.at(position)}
                  position={position}
                  column={column}
                  distance={listing.value.distanceAt(position)}
                  isActive={active.value === position}
                  isSelected={selected.value === anchor}
                  width={cellWidth}
                  height={cellHeight}
                  onActive={() => {
                    active.value = position;
                  }}
                />
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}
