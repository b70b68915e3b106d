import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { VraEngine } from '@tidemark/engine-host';
import { CachingGuest, recordsOf } from './caching-guest.js';
import { until, VraRig, type RigOptions } from './rig.js';

const OPTIONS: RigOptions = {
  protectingCount: 2,
  recoveringCount: 1,
  intervalMs: 200,
  vms: [
    { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [64 * MiB] },
    { vmId: 'vm-2', host: 1, recoveryHost: 0, diskBytes: [64 * MiB] },
  ],
};

let rig: VraRig;
let guests: CachingGuest[];
beforeEach(async () => {
  rig = await VraRig.start(OPTIONS);
  guests = [];
  for (const { vmId, host } of OPTIONS.vms) {
    guests.push(await CachingGuest.start({ nbdSocketPath: rig.socketPath('p', host), exportName: `${vmId}-0`, agentFolder: rig.guestAgentFolder('p', host), vmId }));
  }
  await rig.protect();
  await until('a checkpoint', () => rig.listed().length > 0);
  await until('guests at work', () => guests.every(({ acceptedCount }) => acceptedCount > 100));
});
afterEach(async () => {
  for (const guest of guests) await guest.stop();
  await rig.close();
});

const leader = (): VraEngine => {
  const found = rig.protecting.find((vra) => vra.status().barriers[0]?.leaderVraId === vra.address.vraId);
  if (!found) throw new Error('nobody leads');
  return found;
};
const guest = (index: number): CachingGuest => {
  const found = guests[index];
  if (!found) throw new RangeError('guest');
  return found;
};
const insert = (tag: string): Promise<{ readonly checkpointId: number }> => leader().insertCheckpoint({ vpgId: rig.vpgId, tag, isApplicationConsistent: true });
const heldOf = (vmId: string): readonly { readonly checkpointId: number; readonly kind: string; readonly tag: string | null }[] =>
  rig.recovering[0]?.listCheckpoints({ vpgId: rig.vpgId, vmId }).held ?? [];
const kindsOf = (vmId: string): string[] => heldOf(vmId).map(({ kind }) => kind);

/** Everything that is asked for has been thawed, nothing of the kind is listed, and checkpoints go on. */
const expectNothingOfIt = async (): Promise<void> => {
  await until('all thawed', () => guests.every(({ isFrozen }) => !isFrozen));
  const before = Math.max(...rig.listed());
  await until('further checkpoints', () => rig.listed().some((id) => id > before + 1));
  const common = new Set(rig.listed());
  expect(heldOf('vm-1').filter(({ checkpointId, kind }) => kind === 'applicationConsistent' && common.has(checkpointId))).toEqual([]);
};

describe('an application-consistent checkpoint of a VPG over two hosts', () => {
  it('holds in every VM exactly what its application had accepted when it was frozen, and lets it go on', async () => {
    const { checkpointId } = await insert('nightly');
    await until('all thawed', () => guests.every(({ isFrozen }) => !isFrozen), 1000);
    expect(guests.map(({ thawCount, flushedCounts }) => [thawCount, flushedCounts.length])).toEqual([[1, 1], [1, 1]]);
    await until('it is listed', () => rig.listed().includes(checkpointId));
    expect(heldOf('vm-2').find((one) => one.checkpointId === checkpointId)).toMatchObject({ kind: 'applicationConsistent', tag: 'nightly' });
    const flushed = guests.map(({ flushedCounts }) => flushedCounts[0] ?? 0);
    await until('guests go on', () => guests.every(({ acceptedCount }, index) => acceptedCount > (flushed[index] ?? 0) + 50));
    await rig.openViews(checkpointId);
    for (const [index, { vmId }] of OPTIONS.vms.entries()) {
      const records = recordsOf(await rig.image(rig.uri('r', 0, `${vmId}-0-at-${String(checkpointId)}`)));
      expect(records).toEqual(Array.from({ length: flushed[index] ?? 0 }, (_, at) => at + 1));
    }
    // A plain one shows that this is not how the disks look anyway.
    const plain = await until('a plain checkpoint behind it', () => rig.listed().find((id) => id > checkpointId));
    await rig.openViews(plain);
    const records = recordsOf(await rig.image(rig.uri('r', 0, `vm-1-0-at-${String(plain)}`)));
    expect(records.length).toBeLessThan(records.at(-1) ?? 0);
  });

  it('is not made when one guest cannot freeze; the others thaw', async () => {
    guest(1).onFlushed = () => Promise.reject(new Error('the database does not answer'));
    await expect(insert('never')).rejects.toMatchObject({ code: 'CHECKPOINT_FREEZE', message: expect.stringContaining('the database does not answer') as unknown });
    await expectNothingOfIt();
  });

  it('is not made when a VM has no agent', async () => {
    await guest(1).agent?.close();
    await expect(insert('never')).rejects.toMatchObject({ code: 'CHECKPOINT_FREEZE', message: expect.stringContaining('vm-2') as unknown });
    await expectNothingOfIt();
  });

  it('is void when a guest thawed by itself before it stood', async () => {
    // Its agent is gone as soon as it has said `frozen`: with the connection the freeze ends.
    const { agent } = guest(1);
    guest(0).onFlushed = async () => {
      await until('the other one is frozen', () => guest(1).flushedCounts.length > 0);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await agent?.close();
      guest(1).agent = undefined;
    };
    await expect(insert('never')).rejects.toMatchObject({ code: 'CHECKPOINT_VOID', message: expect.stringContaining('vm-2 thawed') as unknown });
    await expectNothingOfIt();
  });

  it('ends with its leader: what is frozen on the other host is thawed at once', async () => {
    const leads = rig.protecting.indexOf(leader());
    const frozen = guest(1 - leads);
    let goOn: () => void = () => undefined;
    guest(leads).onFlushed = () => new Promise((resolve) => (goOn = resolve));
    const asked = insert('never').catch((error: unknown) => error);
    await until('the other host is frozen', () => frozen.flushedCounts.length > 0 && frozen.isFrozen);
    await rig.stop('p', leads);
    await until('it is thawed', () => !frozen.isFrozen, 2000);
    goOn();
    expect(await asked).toMatchObject({ code: 'CHECKPOINT_FREEZE' });
    await rig.startAgain('p', leads);
    expect(kindsOf('vm-1')).not.toContain('applicationConsistent');
  });
});
