// The graph of spec/0013 in plain JavaScript, one rounding at a time, from the document alone: slow, and it shares no code
// with the library. generate-vamana.mjs writes vectors with it, and test/kernels/vamana.test.ts compares with it.
const { fround, abs, max, min } = Math;
const NEAR = 64;
const MAX_ROWS = 8192;
const MAX_PRUNED = 1024;
const MOST_ENTRIES = 128;
const NARROW = 4;

/** |a − b|² by sum4. */
export function distance(a, b) {
  const sums = [0, 0, 0, 0];
  for (let k = 0; k < a.length; k++) {
    const t = fround(a[k] - b[k]);
    sums[k % 4] = fround(sums[k % 4] + fround(t * t));
  }
  return fround(fround(sums[0] + sums[1]) + fround(sums[2] + sums[3]));
}

/** |a − b|² by a left fold. */
function foldedDistance(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) {
    const t = fround(a[k] - b[k]);
    sum = fround(sum + fround(t * t));
  }
  return sum;
}

/** Place of `id` among equal distances, seen from `own`. */
const tag = (own, id) => (id < own ? 2 * (own - id) - 1 : 2 * (id - own));

/** `others` with their distances from `own`, nearest first. */
function nearest(own, rows, others, x = rows[own]) {
  const found = [...others].map((id) => ({ id, d: distance(x, rows[id]) }));
  return found.sort((a, b) => (a.d < b.d ? -1 : a.d > b.d ? 1 : tag(own, a.id) - tag(own, b.id)));
}

function prune(own, rows, candidates, degree) {
  const links = [];
  let left = candidates;
  while (left.length > 0 && links.length < degree) {
    const { id: link } = left[0];
    links.push(link);
    left = left.slice(1).filter(({ id, d }) => {
      const other = distance(rows[link], rows[id]);
      return !(other < d || (other === d && tag(id, link) < tag(id, own)));
    });
  }
  return links;
}

function nearCells(centroids) {
  const all = centroids.map((_, i) => i);
  return all.map((i) =>
    nearest(i, centroids, all)
      .slice(0, NEAR)
      .map(({ id }) => id),
  );
}

function chain(near) {
  const order = [];
  const visited = new Set();
  for (let cell = 0; ; ) {
    order.push(cell);
    visited.add(cell);
    if (order.length === near.length) return order;
    cell = near[cell].find((other) => !visited.has(other)) ?? near.findIndex((_, i) => !visited.has(i));
  }
}

/**
 * @param vectors n arrays of dim f32 in index space; centroids k arrays of dim f32; cells one number a vector
 * @returns rows: the vector of each node; entries and heads: so many first nodes are; lists: ascending neighbours of each node; repaired: edges added to reach all
 */
export function link({ vectors, centroids, cells, degree, candidates, probes }) {
  const full = centroids.map((_, cell) => cell).filter((cell) => cells.includes(cell));
  const order = chain(nearCells(full.map((cell) => centroids[cell]))).map((i) => full[i]);
  const centers = order.map((cell) => centroids[cell]);
  const near = nearCells(centers);
  const rowsOf = order.map((cell) => cells.flatMap((of, row) => (of === cell ? [row] : [])));
  const headRows = rowsOf.map((own, cell) => {
    const far = own.map((row) => foldedDistance(vectors[row], centers[cell]));
    return own[far.indexOf(min(...far))];
  });
  const stride = Math.ceil(order.length / MOST_ENTRIES);
  const numbered = order.map((_, cell) => cell);
  const entryCells = numbered.filter((cell) => cell % stride === 0);
  const headCells = [...entryCells, ...numbered.filter((cell) => cell % stride !== 0)];
  const heads = numbered.map((cell) => headCells.indexOf(cell));
  const rows = headCells.map((cell) => headRows[cell]);
  const cellOf = [...headCells];
  const firsts = [];
  rowsOf.forEach((own, cell) => {
    firsts.push(rows.length);
    for (const row of own) {
      if (row === headRows[cell]) continue;
      rows.push(row);
      cellOf.push(cell);
    }
  });
  firsts.push(rows.length);
  const nodes = rows.map((row) => vectors[row]);

  const lists = nodes.map((x, node) => {
    const cell = cellOf[node];
    // Nearest to the node; equal ones as the own cell has them.
    const probed = near[cell]
      .map((id, place) => ({ id, place, d: distance(x, centers[id]) }))
      .sort((a, b) => (a.d < b.d ? -1 : a.d > b.d ? 1 : a.place - b.place))
      .slice(0, probes);
    let left = MAX_ROWS;
    const seen = [];
    for (const { id } of probed) {
      let [from, to] = [firsts[id], firsts[id + 1]];
      if (to - from > left) {
        if (id === cell && node >= from && node - from > Math.floor(left / 2))
          from = min(node - Math.floor(left / 2), to - left);
        to = from + left;
      }
      for (let other = from; other < to; other++) seen.push(other);
      left -= to - from;
    }
    const close = nearest(node, nodes, seen)
      .slice(0, candidates + 1)
      .map(({ id }) => id);
    const known = new Set([...close, ...near[cell].map((id) => heads[id])]);
    known.delete(node);
    return prune(node, nodes, nearest(node, nodes, known), degree);
  });
  const spans = heads.map((_, head) => {
    const others = nearest(head, nodes, heads).filter(({ id }) => id !== head);
    return prune(head, nodes, others.slice(0, MAX_PRUNED), Math.ceil(degree / 8));
  });

  const edges = nodes.map(() => new Set());
  const connect = (a, b) => {
    edges[a].add(b);
    edges[b].add(a);
  };
  for (const [node, list] of lists.entries()) for (const other of list) connect(node, other);
  for (const [head, list] of spans.entries()) for (const other of list) connect(head, other);
  const final = edges.map((others, node) => {
    const pruned = (list, most) =>
      most === 0 ? [] : prune(node, nodes, nearest(node, nodes, list).slice(0, MAX_PRUNED), most);
    let kept = [...others];
    if (others.size > degree && node >= heads.length) kept = pruned(kept, degree);
    else if (others.size > degree) {
      const among = kept.filter((id) => id < heads.length);
      const held = among.length <= degree / 2 ? among : pruned(among, degree / 2);
      const rest = kept.filter((id) => id >= heads.length);
      kept = [...held, ...pruned(rest, degree - held.length)];
    }
    return kept.sort((a, b) => a - b);
  });
  const entries = entryCells.length;
  const repaired = reachAll({ nodes, lists: final, entries, degree, near, heads, firsts, cellOf });
  return { rows, entries, heads: heads.length, lists: final, repaired };
}

function reachAll({ nodes, lists, entries, degree, near, heads, firsts, cellOf }) {
  const parents = new Map();
  const spread = (from, parent) => {
    const queue = [...from];
    for (const node of from) parents.set(node, parent);
    for (const node of queue) {
      for (const other of lists[node]) {
        if (parents.has(other)) continue;
        parents.set(other, node);
        queue.push(other);
      }
    }
  };
  const addEdge = (from, to) => {
    const list = lists[from];
    let place = list.length;
    if (place === degree) place = list.findLastIndex((other) => parents.get(other) !== from);
    if (place < 0) return false;
    list[place] = to;
    list.sort((a, b) => a - b);
    return true;
  };
  const attach = (node) => {
    const pools = [[...lists[node]]];
    for (const cell of [...near[cellOf[node]], ...near.keys()]) {
      pools.push([heads[cell]]);
      for (let from = firsts[cell]; from < firsts[cell + 1]; from += 1024) {
        pools.push(Array.from({ length: min(1024, firsts[cell + 1] - from) }, (_, i) => from + i));
      }
    }
    for (const pool of pools) {
      const reached = pool.filter((other) => parents.has(other));
      const found = reached.map((id) => ({ id, d: distance(nodes[node], nodes[id]) }));
      found.sort((a, b) => a.d - b.d || a.id - b.id);
      for (const { id } of found) if (addEdge(id, node)) return id;
    }
    throw new Error("no node takes another edge");
  };
  spread(Array.from({ length: entries }, (_, node) => node));
  let repaired = 0;
  for (let node = 0; node < nodes.length; node++) {
    if (parents.has(node)) continue;
    spread([node], attach(node));
    repaired++;
  }
  return repaired;
}

/** To the nearest integer, halves to the even one. */
function nearestEven(x) {
  const floor = Math.floor(x);
  const over = x - floor;
  return over > 0.5 || (over === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** { codes, scale, half } of a row. */
export function code(y, metric) {
  const most = y.reduce((a, b) => max(a, abs(b)), 0);
  const inverse = most > 0 ? fround(127 / most) : 0;
  const isCoded = inverse > 0 && inverse < Infinity;
  let squares = 0;
  for (const value of y) squares = fround(squares + fround(value * value));
  return {
    codes: Array.from(y, (value) =>
      isCoded ? nearestEven(min(127, max(-127, fround(value * inverse)))) + 0 : 0,
    ),
    scale: isCoded ? fround(most / 127) : 0,
    half: metric === "l2" ? fround(0.5 * squares) : 0,
  };
}

/** { codes, step } of a query. */
export function codeQuery(q) {
  const width = Math.ceil(q.length / 16) * 16;
  const limit = min(32767, Math.floor(0x7fffffff / (127 * width)));
  const most = q.reduce((a, b) => max(a, abs(b)), 0);
  const inverse = most > 0 ? fround(limit / most) : 0;
  if (!(inverse > 0 && inverse < Infinity)) return { codes: Array.from(q, () => 0), step: 0 };
  return {
    codes: Array.from(q, (value) => nearestEven(min(limit, max(-limit, fround(value * inverse)))) + 0),
    step: fround(most / limit),
  };
}

export function score(row, query) {
  const sum = row.codes.reduce((total, value, k) => total + value * query.codes[k], 0);
  const scaled = fround(fround(fround(sum) * row.scale) * query.step);
  const found = fround(scaled - row.half);
  return Number.isNaN(found) ? -Infinity : found;
}

/** The least score that counts, by the place `nearest` of the pool and the query in index space. */
function limitOf(pool, within) {
  if (within === undefined || pool.length < within.nearest) return -Infinity;
  const { nearest, slack, isL2, query } = within;
  const squares = query.reduce((sum, value) => sum + value * value, 0);
  const top = fround(isL2 ? squares / 2 : Math.sqrt(squares));
  const reach = fround((1 + slack) * (1 + slack));
  const gap = fround(top - pool[nearest - 1].score);
  const limit = fround(top - fround(reach * gap));
  return Number.isNaN(limit) ? -Infinity : limit;
}

/** The best `most` nodes a walk finds, ascending; `allows` is the filter, `within` where the walk ends. */
export function walk({ coded, lists, entries, heads }, query, beam, most, allows, within) {
  const better = (a, b) => (a.score > b.score ? -1 : a.score < b.score ? 1 : a.node - b.node);
  const all = [];
  let pool = [];
  let fresh = Array.from({ length: entries }, (_, node) => node);
  const seen = new Set(fresh);
  let isOpening = true;
  for (;;) {
    const scored = fresh.map((node) => ({ node, score: score(coded[node], query), isOpen: true }));
    all.push(...scored);
    const limit = limitOf(pool, within);
    pool = [...pool, ...scored.filter((item) => item.score >= limit)].sort(better).slice(0, beam);
    const least = limitOf(pool, within);
    const inView = isOpening ? pool.slice(0, NARROW) : pool;
    const popped = inView.filter((item) => item.isOpen && item.score >= least).slice(0, 4);
    fresh = [];
    if (popped.length === 0) {
      if (!isOpening) break;
      isOpening = false;
      for (const item of pool) item.isOpen = true;
    }
    for (const item of popped) {
      item.isOpen = false;
      for (const other of lists[item.node]) {
        if (seen.has(other) || (isOpening && other >= heads)) continue;
        seen.add(other);
        fresh.push(other);
      }
    }
  }
  const results = allows === undefined ? pool : all.filter(({ node }) => allows(node)).sort(better);
  return results
    .slice(0, most)
    .map(({ node }) => node)
    .sort((a, b) => a - b);
}
