// Recall against queries per second as an SVG: a panel a data set, logarithmic both ways (the distance of recall to 1
// on the one axis), so that the corner where it matters has room.
import { QUOTED } from "./quoted.mjs";

const PANEL = { width: 372, height: 380, gap: 22 };
const LEFT = 64;
const TOP = 112;
const LEGEND_ROW = 26;
const LEGEND_COLUMNS = 4;
/** Recalls from here up to the exact ones, which stand at `EXACT`. */
const FROM = 0.7;
const EXACT = 0.9996;
const TICKS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.999];

const LOOK = {
  DreamDB: { colour: "#d6246e", shape: "circle", width: 3 },
  "faiss-node": { colour: "#1971c2", shape: "square", width: 1.75 },
  "hnswlib-node": { colour: "#2b8a3e", shape: "triangle", width: 1.75 },
  usearch: { colour: "#d9730d", shape: "diamond", width: 1.75 },
  LanceDB: { colour: "#6741d9", shape: "down", width: 1.5 },
  "plain JS": { colour: "#495057", shape: "cross", width: 1.5 },
};
/** Variants of one contender, in order, share its colour. */
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "1 4"];

export function chart(results) {
  const sets = Object.entries(results.dataSets);
  const width = LEFT + sets.length * (PANEL.width + PANEL.gap);
  const curves = sets.map(([name, set]) => curvesOf(name, set, results.absent));
  const legend = [...new Map(curves.flat().map((curve) => [curve.name, curve])).values()];
  const height = TOP + PANEL.height + 62 + Math.ceil(legend.length / LEGEND_COLUMNS) * LEGEND_ROW + 14;
  const scale = qpsScale(curves.flat());
  const panels = sets.map(([, set], i) =>
    panel(set, curves[i], scale, LEFT + i * (PANEL.width + PANEL.gap), i === 0),
  );
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif" font-size="14" fill="#212529" role="img">`,
    "<title>Recall against queries per second of CPU time</title>",
    `<rect width="${width}" height="${height}" rx="8" fill="#ffffff"/>`,
    text(LEFT, 30, "Queries per CPU second against recall@10", { size: 18, weight: 600 }),
    text(LEFT, 52, "One query a call, one core; up and to the right is better", { fill: "#5c636a" }),
    ...panels,
    ...legendOf(legend, TOP + PANEL.height + 74, width),
    "</svg>",
  ].join("\n")}\n`;
}

/** [{ name, contender, dash, points, isQuoted }]: of each index only the points that nothing of its own beats. */
function curvesOf(dataSet, { entries }, absent) {
  const seen = new Map();
  const curves = entries
    .filter(({ points }) => points !== undefined)
    .map(({ contender, variant, points }) => {
      const order = seen.get(contender) ?? 0;
      seen.set(contender, order + 1);
      const name = [contender, variant].filter(Boolean).join(" ");
      return { name, contender, dash: DASHES[order % DASHES.length], points: frontier(points) };
    });
  for (const { name } of absent) {
    const quoted = QUOTED[dataSet]?.[name];
    if (quoted === undefined) continue;
    const points = [0.9, 0.95, 0.99].map((recall, i) => ({ recall, qps: quoted.qps[i] }));
    curves.push({
      name: `${name} (quoted)`,
      contender: name,
      dash: DASHES[2],
      points: points.filter(({ qps }) => qps !== undefined),
      isQuoted: true,
    });
  }
  return curves;
}

function frontier(points) {
  const sorted = points
    .filter((point) => !point.isTarget)
    .sort((a, b) => b.recall - a.recall || b.qps - a.qps);
  let best = 0;
  const kept = sorted.filter(({ qps }) => {
    const isBetter = qps > best;
    if (isBetter) best = qps;
    return isBetter;
  });
  return kept.reverse();
}

/** Shared by the panels: whole thirds of decades round what there is. */
function qpsScale(curves) {
  const shown = curves
    .flatMap(({ points }) => points.filter(({ recall }) => recall >= FROM))
    .map(({ qps }) => qps);
  const low = Math.floor(Math.log10(Math.min(...shown, 100)) * 3) / 3;
  const high = Math.ceil(Math.log10(Math.max(...shown, 1000)) * 3) / 3;
  const y = (qps) => TOP + PANEL.height * (1 - (Math.log10(qps) - low) / (high - low));
  const ticks = [];
  for (let decade = Math.floor(low); decade <= high; decade++)
    for (const step of [1, 2, 5]) {
      const qps = step * 10 ** decade;
      if (Math.log10(qps) >= low - 1e-9 && Math.log10(qps) <= high + 1e-9) ticks.push(qps);
    }
  return { y, ticks };
}

function recallX(recall, left) {
  const depth = (value) => -Math.log10(1 - Math.min(value, EXACT));
  return left + ((depth(recall) - depth(FROM)) / (depth(EXACT) - depth(FROM))) * (PANEL.width - 14);
}

function panel({ title, lid }, curves, { y, ticks }, left, isFirst) {
  const right = left + PANEL.width;
  const bottom = TOP + PANEL.height;
  const clip = `panel-${left}`;
  const parts = [
    `<clipPath id="${clip}"><rect x="${left}" y="${TOP}" width="${PANEL.width}" height="${PANEL.height}"/></clipPath>`,
    `<rect x="${left}" y="${TOP}" width="${PANEL.width}" height="${PANEL.height}" fill="#f8f9fa"/>`,
  ];
  for (const qps of ticks) {
    const isDecade = Number.isInteger(Math.log10(qps));
    parts.push(line(left, y(qps), right, y(qps), isDecade ? "#ced4da" : "#e9ecef"));
    if (isFirst)
      parts.push(text(left - 8, y(qps) + 5, qps.toLocaleString("en"), { anchor: "end", size: 13 }));
  }
  for (const recall of TICKS) {
    const x = recallX(recall, left);
    parts.push(line(x, TOP, x, bottom, [0.9, 0.95, 0.99].includes(recall) ? "#adb5bd" : "#e9ecef"));
    parts.push(text(x, bottom + 19, String(recall).slice(1), { anchor: "middle", size: 13 }));
  }
  parts.push(text(recallX(1, left), bottom + 19, "1", { anchor: "middle", size: 13 }));
  parts.push(text(left + PANEL.width / 2, bottom + 42, "recall@10", { anchor: "middle", fill: "#5c636a" }));
  parts.push(
    text(left, TOP - 28, title[0].toUpperCase() + title.slice(1), { weight: 600 }),
    text(left, TOP - 10, `local intrinsic dimension ${lid.toFixed(0)}`, { size: 13, fill: "#5c636a" }),
  );
  // This library last, on top.
  const ordered = [...curves].sort((a, b) => (a.contender === "DreamDB") - (b.contender === "DreamDB"));
  parts.push(`<g clip-path="url(#${clip})">`, ...ordered.map((curve) => drawn(curve, left, y)), "</g>");
  return parts.join("\n");
}

function drawn(curve, left, y) {
  const { colour, width } = LOOK[curve.contender];
  const at = curve.points.map(({ recall, qps }) => [recallX(recall, left), y(qps)]);
  const path = at.map(([x, height], i) => `${i === 0 ? "M" : "L"}${one(x)} ${one(height)}`).join("");
  const visible = at.filter(([x]) => x >= left - 6);
  return [
    `<path d="${path}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round"${dashOf(curve)}/>`,
    ...visible.map(([x, height]) => marker(curve, x, height)),
  ].join("");
}

function legendOf(curves, top, width) {
  const column = (width - LEFT - PANEL.gap) / LEGEND_COLUMNS;
  return curves.map((curve, i) => {
    const x = LEFT + (i % LEGEND_COLUMNS) * column;
    const y = top + Math.floor(i / LEGEND_COLUMNS) * LEGEND_ROW;
    const { colour, width: stroke } = LOOK[curve.contender];
    return [
      `<path d="M${one(x)} ${y}h36" stroke="${colour}" stroke-width="${stroke}" fill="none"${dashOf(curve)}/>`,
      marker(curve, x + 18, y),
      text(x + 45, y + 5, curve.name, { weight: curve.contender === "DreamDB" ? 600 : 400 }),
    ].join("");
  });
}

function dashOf({ dash }) {
  return dash === "" ? "" : ` stroke-dasharray="${dash}"`;
}

function marker({ contender, isQuoted }, x, y) {
  const { colour, shape } = LOOK[contender];
  const r = contender === "DreamDB" ? 4.6 : 4;
  const outlines = {
    circle: `M${one(x - r)} ${one(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
    square: `M${one(x - r)} ${one(y - r)}h${2 * r}v${2 * r}h${-2 * r}z`,
    triangle: `M${one(x)} ${one(y - r - 1)}l${r + 1} ${2 * r}h${-2 * r - 2}z`,
    down: `M${one(x)} ${one(y + r + 1)}l${r + 1} ${-2 * r}h${-2 * r - 2}z`,
    diamond: `M${one(x)} ${one(y - r - 1.5)}l${r + 1} ${r + 1.5}l${-r - 1} ${r + 1.5}l${-r - 1} ${-r - 1.5}z`,
    cross: `M${one(x - r)} ${one(y - r)}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`,
  };
  if (shape === "cross")
    return `<path d="${outlines.cross}" stroke="${colour}" stroke-width="2.5" fill="none"/>`;
  return `<path d="${outlines[shape]}" fill="${isQuoted ? "#ffffff" : colour}" stroke="${isQuoted ? colour : "#ffffff"}" stroke-width="1.2"/>`;
}

function line(x1, y1, x2, y2, colour) {
  return `<path d="M${one(x1)} ${one(y1)}L${one(x2)} ${one(y2)}" stroke="${colour}" fill="none"/>`;
}

function text(x, y, content, { anchor = "start", size = 14, weight = 400, fill = "#212529" } = {}) {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${one(x)}" y="${one(y)}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="${fill}">${escaped}</text>`;
}

function one(value) {
  return Number(value.toFixed(1));
}
