/** Points of a map, found by place: rows are sorted into a grid of square cells once. */

/** Points a cell, on average. */
const PER_CELL = 4;

export class MapPoints {
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly rows: number;
  readonly left: number;
  readonly top: number;
  /** Of the square that all points lie in, in their own units. */
  readonly side: number;
  readonly #across: number;
  /** Where each cell's rows begin among `#sorted`. */
  readonly #starts: Uint32Array;
  readonly #sorted: Uint32Array;

  constructor(x: Float32Array, y: Float32Array, rows: number) {
    this.x = x;
    this.y = y;
    this.rows = rows;
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let row = 0; row < rows; row++) {
      const [px, py] = [x[row] as number, y[row] as number];
      if (!Number.isFinite(px) || !Number.isFinite(py)) continue;
      left = Math.min(left, px);
      right = Math.max(right, px);
      top = Math.min(top, py);
      bottom = Math.max(bottom, py);
    }
    const isEmpty = left > right;
    this.side = isEmpty ? 1 : Math.max(right - left, bottom - top, 1e-9);
    this.left = isEmpty ? 0 : (left + right - this.side) / 2;
    this.top = isEmpty ? 0 : (top + bottom - this.side) / 2;
    this.#across = Math.max(1, Math.ceil(Math.sqrt(rows / PER_CELL)));
    this.#starts = new Uint32Array(this.#across ** 2 + 1);
    this.#sorted = new Uint32Array(rows);
    this.#sort();
  }

  /** The row nearest to a place, at most `radius` away, or -1. */
  nearest(px: number, py: number, radius: number, isIn: (row: number) => boolean): number {
    let best = -1;
    let least = radius * radius;
    this.each(px - radius, py - radius, px + radius, py + radius, (row) => {
      const d = ((this.x[row] as number) - px) ** 2 + ((this.y[row] as number) - py) ** 2;
      if (d > least || !isIn(row)) return;
      least = d;
      best = row;
    });
    return best;
  }

  /** Rows in a rectangle. */
  each(left: number, top: number, right: number, bottom: number, take: (row: number) => void): void {
    const [i0, i1] = [this.#cell(left - this.left), this.#cell(right - this.left)];
    const [j0, j1] = [this.#cell(top - this.top), this.#cell(bottom - this.top)];
    for (let j = j0; j <= j1; j++) {
      const end = this.#starts[j * this.#across + i1 + 1] as number;
      for (let n = this.#starts[j * this.#across + i0] as number; n < end; n++) {
        const row = this.#sorted[n] as number;
        const [x, y] = [this.x[row] as number, this.y[row] as number];
        if (x >= left && x <= right && y >= top && y <= bottom) take(row);
      }
    }
  }

  #cell(offset: number): number {
    return Math.max(0, Math.min(this.#across - 1, Math.floor((offset / this.side) * this.#across)));
  }

  #sort(): void {
    const cells = new Uint32Array(this.rows);
    const none = this.#across ** 2;
    for (let row = 0; row < this.rows; row++) {
      const [px, py] = [this.x[row] as number, this.y[row] as number];
      const isPlaced = Number.isFinite(px) && Number.isFinite(py);
      const cell = isPlaced ? this.#cell(py - this.top) * this.#across + this.#cell(px - this.left) : none;
      cells[row] = cell;
      if (cell < none) this.#starts[cell + 1]!++;
    }
    for (let cell = 0; cell < none; cell++) this.#starts[cell + 1]! += this.#starts[cell] as number;
    const next = this.#starts.slice();
    for (let row = 0; row < this.rows; row++) {
      const cell = cells[row] as number;
      if (cell < none) this.#sorted[next[cell]!++] = row;
    }
  }
}
