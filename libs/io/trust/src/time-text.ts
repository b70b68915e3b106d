/** `2026-11-22T08:47:06Z` */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
