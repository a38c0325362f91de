/** Rows beyond the view on either side, so that little is missing while one scrolls. */
export const ROWS_AROUND = 2;

const GAP = 8;
const LABEL_HEIGHT = 50;
const TEXT_HEIGHT = 128;

export interface GridLayout {
  columns: number;
  cellWidth: number;
  cellHeight: number;
  /** With the gap below. */
  rowHeight: number;
  gap: number;
}

/** As many columns as fit; pictures are square above their label. All in CSS pixels. */
export function layoutOf(width: number, hasPictures: boolean): GridLayout {
  const least = hasPictures ? (width < 500 ? 104 : 128) : width < 500 ? width : 250;
  const columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
  const cellWidth = Math.max(1, Math.floor((width - GAP * (columns - 1)) / columns));
  const cellHeight = hasPictures ? Math.round(cellWidth * 0.86) + LABEL_HEIGHT : TEXT_HEIGHT;
  return { columns, cellWidth, cellHeight, rowHeight: cellHeight + GAP, gap: GAP };
}
