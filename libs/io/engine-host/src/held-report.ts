import { ProtocolError } from '@tidemark/base';
import { decodeControl } from '@tidemark/frame';

/** At most so many checkpoints in one report: the oldest ones, and always the newest. */
export const HELD_REPORT_MAX = 2000;

/**
 * A recovering VRA tells the one that leads retirement which checkpoints as old as the history every journal of its own VMs of a
 * VPG holds, oldest first. Ages are on the reporter's monotonic clock and never overstated.
 */
export interface HeldReport {
  readonly type: 'held';
  readonly vpgId: string;
  readonly checkpointIds: readonly number[];
  readonly agesMs: readonly number[];
}

/** Throws ProtocolError for what is not a report. */
export function decodeHeldReport(body: Uint8Array): HeldReport {
  const { fields } = decodeControl(body);
  const vpgId = fields.text('vpgId', 200);
  const checkpointIds = fields.integers('checkpointIds', { countMax: HELD_REPORT_MAX + 1, min: 1 });
  const agesMs = fields.integers('agesMs', { countMax: HELD_REPORT_MAX + 1, min: 0 });
  fields.end();
  if (checkpointIds.length !== agesMs.length) throw new ProtocolError('PROTOCOL_LAYOUT', 'ages and checkpoints of a report do not match');
  return { type: 'held', vpgId, checkpointIds, agesMs };
}

/** Checkpoints that every report holds; the age is the youngest that any of them gives. */
export function commonCheckpoints(reports: readonly HeldReport[]): { readonly checkpointId: number; readonly ageMs: number }[] {
  const [first, ...others] = reports;
  if (!first) return [];
  const rest = others.map(({ checkpointIds, agesMs }) => new Map(checkpointIds.map((id, index) => [id, agesMs[index] ?? 0])));
  return first.checkpointIds.flatMap((checkpointId, index) => {
    const ages = rest.map((report) => report.get(checkpointId));
    if (ages.some((age) => age === undefined)) return [];
    return [{ checkpointId, ageMs: Math.min(first.agesMs[index] ?? 0, ...ages.map((age) => age ?? 0)) }];
  });
}
