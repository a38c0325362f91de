/** Figures of repeated runs. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Least and greatest, for print. */
export function spread(values, digits = 0) {
  return `(${Math.min(...values).toFixed(digits)} … ${Math.max(...values).toFixed(digits)}, ${values.length} runs)`;
}
