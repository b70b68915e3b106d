import { beforeEach, describe, expect, it } from '@jest/globals';
import type { VraStatusV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import type { ZvmConfig } from '../config.js';
import type { InventoryService } from '../inventory/inventory.service.js';
import { inventory, protectionStatus, SITE_A, vm, vpgRecord, vra, vraStatus } from '../testing/factories.js';
import { ProtectedSite } from '../vpg/protected-site.service.js';
import { RecoveredVms } from '../vpg/recovered-vms.service.js';
import type { VmHostStore } from '../vpg/vm-host.store.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import type { VpgStore } from '../vpg/vpg.store.js';
import type { VraLinkService } from './vra-link.service.js';
import type { VraStateService } from './vra-state.service.js';
import { VraWords } from './vra-words.service.js';
import type { VraStore } from './vra.store.js';

const record = vpgRecord();
const { vpgId } = record.definition;
const unused = undefined as never;

/** vm1 runs at host h1 with VRA 1, vm2 at h2 with VRA 2; VRA 91 recovers both. Whoever else speaks lies. */
describe('what VRAs say of what they were not given', () => {
  let said: Map<string, Partial<VraStatusV1>>;
  let asked: string[];
  let answerOf: (vraId: string) => number;
  let link: VraLinkService;
  let current: ReturnType<typeof inventory> | undefined;
  beforeEach(() => {
    said = new Map();
    asked = [];
    answerOf = () => 5;
    current = inventory([vm('vm1', 'h1'), vm('vm2', 'h2')]);
    link = {
      status: (vraId: string) => (said.has(vraId) ? vraStatus(vraId, said.get(vraId)) : undefined),
      insertCheckpoint: async (vraId: string) => {
        asked.push(vraId);
        return { checkpointId: answerOf(vraId) };
      },
      promoteView: async () => undefined,
    } as unknown as VraLinkService;
  });

  const words = (): VraWords =>
    new VraWords(link, { all: () => [vra('1', 'h1'), vra('2', 'h2'), vra('3', 'h3')] } as unknown as VraStore, { get current() { return current; } } as InventoryService, {
      find: (_vpg: string, vmId: string) => (vmId === 'vm1' ? 'h3' : undefined),
    } as unknown as VmHostStore);

  it('of streams only the one of the VRA where a VM runs is heard', () => {
    said.set('1', { protections: [protectionStatus({ detail: 'true' }), protectionStatus({ vmId: 'vm2', detail: 'lie' })] }).set('3', { protections: [protectionStatus({ detail: 'lie' })] });
    expect(words().protections(record).map(({ detail }) => detail)).toEqual(['true']);
    said.set('2', { protections: [protectionStatus({ vmId: 'vm2', detail: 'true, too' })] });
    expect(words().protections(record).map(({ detail }) => detail)).toEqual(['true', 'true, too']);
  });

  it('where the VM ran last stands in for a hypervisor manager that was not heard yet', () => {
    current = undefined;
    said.set('1', { protections: [protectionStatus({ detail: 'h1' })] }).set('3', { protections: [protectionStatus({ detail: 'h3' })] });
    expect(words().protections(record).map(({ detail }) => detail)).toEqual(['h3']);
  });

  it('of recoveries and views only those of the VRA that recovers the VM are heard', () => {
    const recovery = { vpgId, vmId: 'vm1' } as VraStatusV1['recoveries'][number];
    const view = { vpgId, vmId: 'vm1', viewId: 'v' } as VraStatusV1['views'][number];
    said.set('1', { recoveries: [recovery], views: [view] });
    expect([words().recoveries(record), words().views(record)]).toEqual([[], []]);
    said.set('91', { recoveries: [recovery], views: [view] });
    expect([words().recoveries(record), words().views(record)]).toEqual([[recovery], [view]]);
  });

  it("of disks that are away only those that the VPG has are heard, of the VRA where the VM runs", () => {
    const away = (vmId: string, diskId: string): VraStatusV1['unreachableDisks'][number] => ({ vmId, diskId, path: 'nbd://nas/d', sinceMs: 1, reason: 'gone' });
    const diskIds = record.definition.vms.flatMap(({ disks }) => disks.map(({ diskId }) => diskId));
    const own = diskIds[0] ?? '';
    said.set('2', { unreachableDisks: [away('vm1', own)] }).set('3', { unreachableDisks: [away('vm1', own)] });
    expect(words().unreachableDisks(record)).toEqual([]);
    said.set('1', { unreachableDisks: [away('vm1', 'made up'), away('vm1', own), away('vm2', own)] });
    expect(words().unreachableDisks(record).map(({ vra: { vraId }, vm: { vmId }, disk }) => [vraId, vmId, disk.diskId])).toEqual([['1', 'vm1', own]]);
  });

  it('a failover is promoted when the VRA that recovers the VM says so', async () => {
    const promoted = { viewId: 'v', vpgId, vmId: 'vm1', state: 'promoted' } as VraStatusV1['views'][number];
    const failedOver = { ...record, failover: { vms: [{ vmId: 'vm1', viewId: 'v' }] } } as unknown as VpgRecord;
    const vms = new RecoveredVms({ get: () => failedOver } as unknown as VpgStore, unused, link);
    said.set('1', { views: [promoted] }).set('91', {});
    expect(await vms.promotionShare(vpgId)).toBe(0);
    said.set('91', { views: [promoted] });
    expect(await vms.promotionShare(vpgId)).toBe(1);
  });

  describe('a tagged checkpoint', () => {
    const site = (): ProtectedSite => new ProtectedSite({ get: () => record } as unknown as VpgStore, unused, link, { vraIdsOf: () => ['1', '2'] } as unknown as VraStateService, unused, unused, { siteId: SITE_A } as ZvmConfig);
    const barrier = (leaderVraId: string) => ({ vpgId, leaderVraId }) as VraStatusV1['barriers'][number];

    it('is asked of a member of the barrier, whoever else is named as its leader', async () => {
      said.set('1', { barriers: [barrier('3')] }).set('2', { barriers: [barrier('2')] });
      await site().insertCheckpoint({ vpgId, tag: 'now', isApplicationConsistent: false });
      expect(asked).toEqual(['2']);
    });

    it('follows who leads among the members, and nobody out of them', async () => {
      const names = (leaderId: string) => (vraId: string): number => {
        if (vraId === '1') throw new ControlError('CONTROL_REFUSED', leaderId, 'CHECKPOINT_NOT_LEADER');
        return 5;
      };
      answerOf = names('2');
      await site().insertCheckpoint({ vpgId, tag: 'now', isApplicationConsistent: false });
      answerOf = names('3');
      await expect(site().insertCheckpoint({ vpgId, tag: 'now', isApplicationConsistent: false })).rejects.toMatchObject({ remoteCode: 'CHECKPOINT_NOT_LEADER' });
      expect(asked).toEqual(['1', '2', '1']);
    });
  });
});
