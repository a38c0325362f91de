// What is measured against exact answers; for pages, too.

/** A result this close below the true tenth score counts as found. */
const TIE = 1e-6;

/** The share of the true first 10 that `found` (ids per query, from query `from` on) has; ties count. */
export function recallAt10(truth, found, from = 0) {
  let share = 0;
  found.forEach((ids, i) => {
    const query = (from + i) % truth.ids.length;
    const known = new Map(truth.ids[query].map((id, rank) => [id, truth.scores[query][rank]]));
    const wanted = Math.min(10, known.size);
    const least = truth.scores[query][wanted - 1] - TIE;
    const good = [...new Set(Array.from(ids, Number))].filter((id) => (known.get(id) ?? -2) >= least).length;
    share += Math.min(good, wanted) / wanted;
  });
  return share / found.length;
}
