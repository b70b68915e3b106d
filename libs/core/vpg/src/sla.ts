/** Reference §3.5. All times in ms. */
export const SLA = {
  /** RPO this far above its target alerts: VPG0009. */
  rpoWarningShare: 0.15,
  /** VPG0010. */
  rpoErrorShare: 0.25,
  /** Less than this share of the history that could be there. */
  historyShare: 0.75,
} as const;

export interface SlaFacts {
  /** Age of the newest recoverable checkpoint; null: not known, or there is none. */
  readonly rpoMs: number | null;
  readonly rpoTargetMs: number;
  /** Age of the oldest recoverable checkpoint; null: none. */
  readonly historyMs: number | null;
  readonly historyTargetMs: number;
  /** Since the first checkpoint of this VPG was listed; null: not known. A young VPG cannot have an old checkpoint. */
  readonly recoverableForMs: number | null;
}

/** Not known is not met. */
export const isRpoMet = ({ rpoMs, rpoTargetMs }: SlaFacts): boolean => rpoMs !== null && rpoMs <= rpoTargetMs;

export function isHistoryMet({ historyMs, historyTargetMs, recoverableForMs }: SlaFacts): boolean {
  if (historyMs === null) return false;
  const possibleMs = recoverableForMs === null ? historyTargetMs : Math.min(historyTargetMs, recoverableForMs);
  return historyMs >= possibleMs * SLA.historyShare;
}

export type RpoLevel = 'fine' | 'warning' | 'error';

export function rpoLevel(rpoMs: number, rpoTargetMs: number): RpoLevel {
  if (rpoMs >= rpoTargetMs * (1 + SLA.rpoErrorShare)) return 'error';
  return rpoMs >= rpoTargetMs * (1 + SLA.rpoWarningShare) ? 'warning' : 'fine';
}

/** Reference §3.5: 240 min of 24 h, 60 of 1 h. */
const FAIL_SAFE_MS_MAX = 4 * 3_600_000;

/** The part of the history that a sync should leave, and how much of that is there. */
export function failSafeHistory({ historyMs, historyTargetMs }: Pick<SlaFacts, 'historyMs' | 'historyTargetMs'>): { readonly actualMs: number; readonly configuredMs: number } {
  const configuredMs = Math.min(historyTargetMs, FAIL_SAFE_MS_MAX);
  return { actualMs: Math.min(historyMs ?? 0, configuredMs), configuredMs };
}
