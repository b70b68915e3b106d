import type { Extent } from '@tidemark/extent';

/** What is left of `whole` without `holes` (any order, may overlap), in order. */
export function subtract(whole: Extent, holes: readonly Extent[]): Extent[] {
  const parts: Extent[] = [];
  let start = whole.start;
  for (const hole of holes.toSorted((a, b) => a.start - b.start)) {
    if (hole.start > start) parts.push({ start, end: Math.min(hole.start, whole.end) });
    start = Math.max(start, hole.end);
    if (start >= whole.end) return parts;
  }
  parts.push({ start, end: whole.end });
  return parts;
}
