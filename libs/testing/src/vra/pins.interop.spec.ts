import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { RecoveryStatus, VraEngine } from '@tidemark/engine-host';
import { qemuIo, until, VraRig, type RigVm } from './rig.js';

const VM: RigVm = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [8 * MiB] };
const UNLIMITED = { journalHardBytes: null, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null };

const HOUR_MS = 3_600_000;
let wallOffsetMs = 0;

let rig: VraRig | undefined;
afterEach(async () => {
  wallOffsetMs = 0;
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const engine = (vras: VraRig): VraEngine => {
  const [found] = vras.recovering;
  if (!found) throw new RangeError('no VRA');
  return found;
};

const recovery = (vras: VraRig): RecoveryStatus => {
  const [found] = engine(vras).status().recoveries;
  if (!found) throw new RangeError('no recovery');
  return found;
};

/** With a history of two seconds; after a step of the wall clock ages are trusted again so soon. */
async function start(journalHardBytes: number | null = null): Promise<VraRig> {
  rig = await VraRig.start({ protectingCount: 1, recoveringCount: 1, vms: [VM], intervalMs: 200, historyMs: 2000, ageClock: { settleMs: 2000, clocks: { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() + wallOffsetMs } } });
  await qemuIo(rig.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 1M');
  await engine(rig).putRecovery({ ...rig.recoverySpec(VM), limits: { ...UNLIMITED, journalHardBytes } });
  await rig.apply(0, { isProtected: true });
  return rig;
}

const REF = (vras: VraRig): { readonly vpgId: string; readonly vmId: string } => ({ vpgId: vras.vpgId, vmId: VM.vmId });

describe('a named pin', () => {
  it('keeps its checkpoint beyond retention, over a restart and over a step of the wall clock, shows in the status, and ends when it is dropped or expires', async () => {
    const vras = await start();
    const first = await until('a checkpoint', () => vras.listed()[0]);
    await engine(vras).putPin({ ...REF(vras), name: 'backup', checkpointId: first, keepForMs: HOUR_MS });
    expect(recovery(vras).pins).toEqual([{ name: 'backup', checkpointId: first, keepForMs: expect.any(Number) }]);
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x22 0 1M');
    await vras.restart('r', 0);
    expect(recovery(vras).pins).toHaveLength(1);
    expect(engine(vras).status().clockDoubt).toBeNull();
    wallOffsetMs += 3 * 24 * HOUR_MS;
    expect(engine(vras).status().clockDoubt?.byMs).toBeGreaterThan(2.9 * 24 * HOUR_MS);
    // Four times its history, and what is retired is looked for each five seconds.
    await until('forty checkpoints', () => vras.listed().length > 40);
    expect(vras.listed()[0]).toBe(first);
    expect(recovery(vras).pins[0]?.keepForMs).toBeGreaterThan(0.9 * HOUR_MS);
    const { viewIds } = await vras.openViews(first);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(first)}`), 'read -P 0x11 0 1M');
    for (const viewId of viewIds) await engine(vras).closeView(viewId);
    await engine(vras).dropPin({ ...REF(vras), name: 'backup' });
    await engine(vras).dropPin({ ...REF(vras), name: 'backup' });
    await until('it is retired', () => !vras.heldBy('vm-1').includes(first));
    await engine(vras).putPin({ ...REF(vras), name: 'short', checkpointId: vras.listed().at(-1) ?? 0, keepForMs: 500 });
    await until('the pin has expired', () => recovery(vras).pins.length === 0);
  }, 60_000);

  it('goes over to another checkpoint, and is refused for one that is not held', async () => {
    const vras = await start();
    const [first = 0, second = 0] = await until('two checkpoints', () => vras.listed().length > 1 && vras.listed());
    await engine(vras).putPin({ ...REF(vras), name: 'files', checkpointId: first, keepForMs: null });
    await engine(vras).putPin({ ...REF(vras), name: 'files', checkpointId: second, keepForMs: null });
    await expect(engine(vras).putPin({ ...REF(vras), name: 'files', checkpointId: 99_999, keepForMs: null })).rejects.toMatchObject({ code: 'VRA_UNKNOWN_CHECKPOINT' });
    await until('the first is retired', () => !vras.heldBy('vm-1').includes(first));
    expect([recovery(vras).pins.map(({ checkpointId }) => checkpointId), vras.heldBy('vm-1')[0]]).toEqual([[second], second]);
  }, 60_000);

  it('is named by a journal that reached its hard limit because of it', async () => {
    const vras = await start(8 * MiB);
    const first = await until('a checkpoint', () => vras.listed()[0]);
    await engine(vras).putPin({ ...REF(vras), name: 'audit', checkpointId: first, keepForMs: null });
    for (let round = 1; recovery(vras).state !== 'full' && round < 40; round += 1) {
      const before = vras.listed().at(-1) ?? 0;
      await qemuIo(vras.uri('p', 0, 'vm-1-0'), `write -P ${String(round)} ${String((round % 4) * 2)}M 1M`);
      await until('the next checkpoint, or no room', () => (vras.listed().at(-1) ?? 0) > before || recovery(vras).state === 'full');
    }
    expect((await until('it is full', () => recovery(vras).isAtHardLimit && recovery(vras))).detail).toContain(`pin 'audit' keeps the history from checkpoint ${String(first)} on`);
    await engine(vras).dropPin({ ...REF(vras), name: 'audit' });
    await until('it goes on', () => recovery(vras).state === 'receiving');
  }, 60_000);
});
