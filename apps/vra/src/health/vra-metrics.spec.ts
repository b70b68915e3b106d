import { expect, it } from '@jest/globals';
import type { EngineStatus, VraEngine } from '@tidemark/engine-host';
import { VraMetrics } from './vra-metrics.js';

const IDS = { vpgId: 'v', vmId: 'm' };
const PROTECTION: EngineStatus['protections'][number] = {
  ...IDS, epoch: 1, state: 'replicating', isFenced: false, detail: '', loss: null, sync: null, lagBytes: 0, writtenBytes: 0, writeCount: 0, sentBytes: 0, bytesPerSecond: 0, writesPerSecond: 0,
};
const STATUS: EngineStatus = {
  revision: 1, clockDoubt: null, attachedVmIds: [], protections: [PROTECTION], recoveries: [], views: [], barriers: [], datastores: [],
  outbound: { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 },
  memory: { poolBytes: 1, readyBytes: 0, protecting: { usedBytes: 0, limitBytes: 1, vpgs: [] }, recovering: { usedBytes: 0, limitBytes: 1, vpgs: [] } },
};

const metricsOf = async (more: Partial<EngineStatus>): Promise<string> => {
  const engine = { status: () => ({ ...STATUS, ...more }), eventLoopDelay: () => ({ p99Ms: 0, maxMs: 0 }) };
  return await new VraMetrics(engine as unknown as VraEngine).metrics();
};

it('counts losses of acknowledged writes, and says 0 where there was none', async () => {
  expect(await metricsOf({})).toContain('tidemark_lost_acknowledged_count{vpg="v",vm="m"} 0');
  expect(await metricsOf({ protections: [{ ...PROTECTION, loss: { count: 2, atMs: 1, detail: 'x' } }] })).toContain('tidemark_lost_acknowledged_count{vpg="v",vm="m"} 2');
});
