import { expect, it } from '@jest/globals';
import type { EngineStatus, VraEngine } from '@tidemark/engine-host';
import { VraMetrics } from './vra-metrics.js';

const IDS = { vpgId: 'v', vmId: 'm' };
const PROTECTION: EngineStatus['protections'][number] = {
  ...IDS, epoch: 1, state: 'replicating', isFenced: false, detail: '', loss: null, sync: null, lagBytes: 0, writtenBytes: 0, writeCount: 0, allSyncsBytes: 0, sentBytes: 0, bytesPerSecond: 0, writesPerSecond: 0,
};
const RECOVERY: EngineStatus['recoveries'][number] = {
  ...IDS, epoch: 1, reservedEpoch: null, state: 'receiving', detail: '', durableSeq: 9, journalBytes: 1, compactedBytes: 0, limits: { journalHardBytes: null, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null },
  isAtHardLimit: false, scrub: { completedAtMs: null, detail: '', affectedIds: [] }, pins: [{ name: 'audit', checkpointId: 7, keepForMs: null }], mirrorBytes: 1, receivedRawBytes: 300, receivedBytes: 100, newestCheckpointId: null, oldestCheckpointId: null, instance: 'i', lastChange: 0,
};
const STATUS: EngineStatus = {
  revision: 1, clockDoubt: null, attachedVmIds: [], unreachableDisks: [], protections: [PROTECTION], recoveries: [], views: [], barriers: [], datastores: [],
  outbound: { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 },
  memory: { poolBytes: 1, readyBytes: 0, protecting: { usedBytes: 0, limitBytes: 1, vpgs: [] }, recovering: { usedBytes: 0, limitBytes: 1, vpgs: [] } },
};

const metricsOf = async (more: Partial<EngineStatus>): Promise<string> => {
  const engine = { status: () => ({ ...STATUS, ...more }), eventLoopDelay: () => ({ p99Ms: 0, maxMs: 0 }), recoveryPointAges: () => [{ ...IDS, p50Ms: 2000, p99Ms: 5000, maxMs: 6000 }] };
  return await new VraMetrics(engine as unknown as VraEngine).metrics();
};

it('counts losses of acknowledged writes, and says 0 where there was none', async () => {
  expect(await metricsOf({})).toContain('tidemark_lost_acknowledged_count{vpg="v",vm="m"} 0');
  expect(await metricsOf({ protections: [{ ...PROTECTION, loss: { count: 2, atMs: 1, detail: 'x' } }] })).toContain('tidemark_lost_acknowledged_count{vpg="v",vm="m"} 2');
});

it('says when the scrub has ended, what compression gains and how many pins there are', async () => {
  const never = await metricsOf({ recoveries: [RECOVERY] });
  expect(never).toContain('tidemark_received_raw_bytes{vpg="v",vm="m"} 300');
  expect(never).toContain('tidemark_received_bytes{vpg="v",vm="m"} 100');
  expect(never).toContain('tidemark_pinned_checkpoints{vpg="v",vm="m"} 1');
  expect(never).not.toContain('tidemark_scrub_completed_timestamp_seconds{');
  expect(await metricsOf({ recoveries: [{ ...RECOVERY, scrub: { ...RECOVERY.scrub, completedAtMs: 5000 } }] })).toContain('tidemark_scrub_completed_timestamp_seconds{vpg="v",vm="m"} 5');
});

it('publishes the distribution of the RPO', async () => {
  const shown = await metricsOf({});
  for (const [name, value] of [['p50', 2000], ['p99', 5000], ['max', 6000]] as const) expect(shown).toContain(`tidemark_rpo_ms_${name}{vpg="v",vm="m"} ${value}`);
});
