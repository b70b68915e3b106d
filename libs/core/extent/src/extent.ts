/** Half-open byte range `[start, end)` of a volume. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export const overlaps = (a: Extent, b: Extent): boolean => a.start < b.end && b.start < a.end;

export const contains = (outer: Extent, inner: Extent): boolean => outer.start <= inner.start && inner.end <= outer.end;

/** The bytes in both; `undefined` when there are none. */
export function intersection(a: Extent, b: Extent): Extent | undefined {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? { start, end } : undefined;
}
