/** Value at a quantile of unsorted numbers, linear between neighbours. */
export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

export const median = (values) => quantile(values, 0.5);

export const geometricMean = (values) => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

/**
 * One row: ours against a peer, sample i of both from the same round. `ratio` is the median of the pairwise ratios, turned so that
 * more is better; `spread` is their first and third quartile.
 * @param {{ case: string, unit: string, goal: number, ours: number[], peer: number[], peerName: string, isLessBetter?: boolean }} input
 */
export function rowOf(input) {
  const ratios = input.ours.map((value, i) => (input.isLessBetter === true ? input.peer[i] / value : value / input.peer[i]));
  return {
    case: input.case, unit: input.unit, ours: median(input.ours), peer: median(input.peer), peerName: input.peerName,
    ratio: median(ratios), goal: input.goal, spread: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
  };
}

/** Of several peers the one that makes our ratio lowest: goals are set against the best one. */
export function rowAgainstBest({ peers, ...input }) {
  const rows = Object.entries(peers).map(([peerName, peer]) => rowOf({ ...input, peerName, peer }));
  return rows.reduce((worst, row) => (row.ratio < worst.ratio ? row : worst));
}
