import { beforeEach, describe, expect, it } from '@jest/globals';
import type { VraStatusV1 } from '@tidemark/contracts';
import type { ControlBus } from '@tidemark/nest';
import type { Vm } from '@tidemark/hypervisor';
import type { AuditLog } from '../audit/audit-log.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import type { EventService } from '../event/event.service.js';
import type { InventoryService } from '../inventory/inventory.service.js';
import { inventory, protectionStatus, SITE_A, vm, vpgDefinition, vpgRecord, vpgVm, vra, vraStatus } from '../testing/factories.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import type { VpgStore } from '../vpg/vpg.store.js';
import type { VmHostStore } from '../vpg/vm-host.store.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraWords } from '../vra/vra-words.service.js';
import type { VraStore } from '../vra/vra.store.js';
import type { FenceStore, VpgFence } from './fence.store.js';
import type { OwnerWords } from './owner-words.js';
import { OwnershipService } from './ownership.service.js';

const config = { siteId: SITE_A, siteName: 'A' } as ZvmConfig;
const OTHER_ID = 'dddddddd-0000-4000-8000-000000000000';

/** The ZVM of a site with two hosts: vm1 and vm3 run on the first, vm2 and vm4 on the second; VRA 1 and 2 serve them. */
describe('fences by the word of VRAs', () => {
  let nowMs: number;
  let vmsOfSite: Vm[];
  let vpgs: VpgRecord[];
  let fences: Map<string, VpgFence>;
  let unwritable: Set<string>;
  let say: (vraId: string, status: Partial<VraStatusV1>) => void;
  let start: () => OwnershipService;
  /** Undefined: the manager of the other site is silent, or has a newer record. */
  let agreedAgeMs: number | undefined;
  beforeEach(() => {
    nowMs = 0;
    agreedAgeMs = undefined;
    vpgs = [vpgRecord()];
    fences = new Map();
    unwritable = new Set();
    const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs } as Clock;
    const bus = {
      listen: (_subject: string, handle: (value: unknown, subject: string) => void) => {
        say = (vraId, status) => handle(JSON.parse(JSON.stringify(vraStatus(vraId, status))), `tidemark.v1.${SITE_A}.vra.${vraId}.event.status.published`);
      },
    } as unknown as ControlBus;
    const link = new VraLinkService(bus, config, clock);
    link.onModuleInit();
    const store = {
      isLoaded: true, all: () => [...fences.values()], find: (vpgId: string) => fences.get(vpgId),
      put: async (fence: VpgFence) => {
        if (unwritable.has(fence.vpgId)) throw new Error('the database takes no such row');
        fences.set(fence.vpgId, fence);
      },
    } as unknown as FenceStore;
    vmsOfSite = [vm('vm1', 'h1'), vm('vm2', 'h2'), vm('vm3', 'h1'), vm('vm4', 'h2')];
    const site = { get current() { return inventory(vmsOfSite); } } as InventoryService;
    const vras = { all: () => [vra('1', 'h1'), vra('2', 'h2')] } as unknown as VraStore;
    const words = new VraWords(link, vras, site, { find: () => undefined } as unknown as VmHostStore);
    const events = { record: async () => undefined } as unknown as EventService;
    const audit = { flush: async () => undefined } as unknown as AuditLog;
    start = () => new OwnershipService(store, { isLoaded: true, all: () => vpgs, find: () => vpgs[0] } as unknown as VpgStore, words, { agreedAgeMs: () => agreedAgeMs } as unknown as OwnerWords, site, events, clock, audit, config);
  });

  /** One look at everything. */
  async function look(): Promise<void> {
    const service = start();
    service.onApplicationBootstrap();
    await service.onApplicationShutdown();
  }
  const fenced = (): string[] => [...start().fencedVmIds()].sort();

  it('one that sends what is no status keeps no VPG from its fence', async () => {
    vpgs = [vpgRecord({ state: 'promoting', epoch: 2 })];
    say('1', { protections: [null] as never });
    await look();
    expect(fenced()).toEqual(['vm1', 'vm2']);
  });

  it('a VPG whose fence cannot be written down keeps no other one from its own', async () => {
    const other = vpgRecord({ definition: vpgDefinition({ vpgId: OTHER_ID, vms: [vpgVm('vm3'), vpgVm('vm4')] }), state: 'promoting', epoch: 2 });
    vpgs = [vpgRecord({ state: 'promoting', epoch: 2 }), other];
    unwritable.add(vpgs[0]?.definition.vpgId ?? '');
    await look();
    expect(fenced()).toEqual(['vm3', 'vm4']);
  });

  it('the word of the VRA that protects a VM fences that VM, and the next one the next', async () => {
    say('1', { protections: [protectionStatus({ isFenced: true })] });
    await look();
    expect(fenced()).toEqual(['vm1']);
    say('2', { protections: [protectionStatus({ vmId: 'vm2', isFenced: true })] });
    await look();
    expect(fenced()).toEqual(['vm1', 'vm2']);
    expect([...fences.values()]).toMatchObject([{ epoch: 2, vmIds: ['vm1', 'vm2'] }]);
  });

  it.each([
    ['a VM of another host', { vmId: 'vm2' }], ['a VM that is in no VPG', { vmId: 'vm3' }], ['a VM that there is not', { vmId: 'vm9' }], ['another VPG', { vpgId: OTHER_ID }], ['an epoch that is over', { epoch: 0 }],
    ['an epoch that nobody has made', { epoch: 1_000_000 }],
  ])('a VRA that speaks of %s fences nothing', async (_what, values) => {
    say('1', { protections: [protectionStatus({ isFenced: true, ...values })] });
    await look();
    expect(fenced()).toEqual([]);
  });

  it('the word of a VRA about a VM that has moved away counts no more', async () => {
    vmsOfSite = [vm('vm1', 'h2'), vm('vm2', 'h2')];
    say('1', { protections: [protectionStatus({ isFenced: true })] });
    await look();
    expect(fenced()).toEqual([]);
  });

  describe('of the other site, whose manager knows of no failover', () => {
    const all = (state: VpgRecord['state'], epoch: number): VpgRecord[] => [vpgRecord({ state, epoch })];
    const lie = (epoch = 1): void => {
      for (const [vraId, vmId] of [['1', 'vm1'], ['2', 'vm2']] as const) say(vraId, { protections: [protectionStatus({ vmId, epoch, isFenced: true })] });
    };
    const shown = (): object[] => start().withVms();

    it('the fence stands, and it is said who says what', async () => {
      agreedAgeMs = 100;
      lie();
      await look();
      expect(fenced()).toEqual(['vm1', 'vm2']);
      expect(shown()).toMatchObject([{ isDenied: true, isLifted: false }]);
      expect(start().textOf(vpgs[0]?.definition.vpgId ?? '')).toMatch(/^VRAs of site B say.*its manager knows of no failover.*writes are refused/);
      await expect(start().claim(vpgs[0]?.definition.vpgId ?? '', { isForced: false, user: 'ann' })).rejects.toThrow(/knows of no failover.*lost for good.*tidemark claim --force/);
      // Silent, it denies nothing: behind a partition the word of the VRAs is all there is.
      agreedAgeMs = undefined;
      expect(shown()).toMatchObject([{ isDenied: false }]);
    });

    it('one claim lets the VMs write again, whatever the VRAs go on saying, and the next failover fences them all the same', async () => {
      const vpgId = vpgs[0]?.definition.vpgId ?? '';
      lie();
      await look();
      nowMs = 10_000;
      agreedAgeMs = 100;
      const service = start();
      await service.claim(vpgId, { isForced: true, user: 'ann' });
      expect(fenced()).toEqual([]);
      // Said before the claim: it could have committed since.
      lie();
      service.onApplicationBootstrap();
      await service.onApplicationShutdown();
      expect(fences.get(vpgId)).toMatchObject({ epoch: 2, isLifted: true });
      expect(shown()).toHaveLength(1);
      nowMs = 11_000;
      lie();
      await look();
      expect([fenced(), fences.get(vpgId)?.epoch, shown()]).toEqual([[], 1, []]);
      for (let turn = 0; turn < 3; turn += 1) {
        lie();
        await look();
      }
      expect(fenced()).toEqual([]);
      vpgs = all('promoting', 2);
      await look();
      expect(fenced()).toEqual(['vm1', 'vm2']);
      expect(shown()).toMatchObject([{ isDenied: false, epoch: 2 }]);
    });

    it('a claim from a site that did fail over stays one when its manager is heard again', async () => {
      const vpgId = vpgs[0]?.definition.vpgId ?? '';
      lie();
      await look();
      await start().claim(vpgId, { isForced: true, user: 'ann' });
      await look();
      nowMs = 10_000;
      agreedAgeMs = 100;
      vpgs = all('needsConfiguration', 2);
      await look();
      expect([fenced(), fences.get(vpgId)?.epoch]).toEqual([[], 2]);
      expect(shown()).toMatchObject([{ isLifted: true, isDenied: false }]);
    });
  });
});
