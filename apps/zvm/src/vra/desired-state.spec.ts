import { describe, expect, it } from '@jest/globals';
import { VraCustody, type VraWord } from '@tidemark/vpg';
import { inventory, SITE_A, SITE_B, vm, vpgDefinition, vpgRecord, vpgVm, vra } from '../testing/factories.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { desiredContents, type SiteFacts } from './desired-state.js';

const TRUST = { sites: [{ siteId: SITE_A, caPem: ['own'], voided: [] }, { siteId: SITE_B, caPem: ['peer'], voided: [{ role: 'vra' as const, instanceId: '31', beforeMs: 5 }] }] };

const facts = (vpgs: VpgRecord[], values: Partial<SiteFacts> = {}): SiteFacts => ({
  siteId: SITE_A,
  trust: TRUST,
  fencedVmIds: new Set(),
  inventory: inventory([vm('vm1', 'h1'), vm('vm2', 'h2'), vm('vm3', 'h1')]),
  vras: [vra('11', 'h1'), vra('12', 'h2')],
  wordOf: () => undefined,
  custodyOf: () => new VraCustody(),
  vpgs,
  ports: { control: 4007, data: 4008 },
  priorityOf: () => 'high',
  isCompressedOf: () => true,
  ...values,
});

describe('what each VRA shall do', () => {
  it('spreads a VPG over the hosts where its VMs run, with one barrier for all', () => {
    const contents = desiredContents(facts([vpgRecord()]));
    expect(contents.get('11')?.attachedVms.map(({ vmId }) => vmId)).toEqual(['vm1', 'vm3']);
    expect(contents.get('11')?.protections).toMatchObject([{ vmId: 'vm1', epoch: 1, diskIds: ['scsi:0:0'], recoveringVra: { vraId: '91' }, recoverySiteId: SITE_B, priority: 'high' }]);
    expect(contents.get('12')?.protections).toMatchObject([{ vmId: 'vm2' }]);
    const barrier = contents.get('11')?.barriers[0];
    expect(barrier?.members.map((member) => [member.vra.vraId, member.vmIds])).toEqual([['11', ['vm1']], ['12', ['vm2']]]);
    expect(contents.get('12')?.barriers[0]).toEqual(barrier);
  });

  it('lets a VM that another site owns read its disks, and write nothing', () => {
    const contents = desiredContents(facts([vpgRecord({ state: 'needsConfiguration' })], { fencedVmIds: new Set(['vm1']) }));
    expect(contents.get('11')?.attachedVms.map(({ vmId, isFenced }) => [vmId, isFenced])).toEqual([['vm1', true], ['vm3', undefined]]);
    expect(contents.get('11')?.protections).toEqual([]);
  });

  it('names volumes with temp data by their place in the stream', () => {
    const disk = (diskId: string, values: object = {}) => ({ diskId, sizeBytes: 1 << 20, recoveryDatastoreId: 'dsb', mirrorPath: `/b/${diskId}.raw`, ...values });
    const withSwap = vpgVm('vm1', { disks: [disk('scsi:0:0'), disk('scsi:0:1', { isTempData: true })] });
    const contents = desiredContents(facts([vpgRecord({ definition: vpgDefinition({ vms: [withSwap, vpgVm('vm2')] }) })]));
    expect(contents.get('11')?.protections[0]?.tempVolumes).toEqual([1]);
    expect(contents.get('12')?.protections[0]).not.toHaveProperty('tempVolumes');
  });

  it('follows a VM to another host', () => {
    const moved = inventory([vm('vm1', 'h2'), vm('vm2', 'h2')]);
    const contents = desiredContents(facts([vpgRecord()], { inventory: moved }));
    expect(contents.get('11')).toEqual({ trust: TRUST, attachedVms: [], protections: [], barriers: [] });
    expect(contents.get('12')?.protections).toHaveLength(2);
  });

  describe('a VM with a disk behind an NBD server, moved from h1 to h2', () => {
    const moved = vm('vm1', 'h2');
    const disks = moved.disks.map((disk) => ({ ...disk, location: 'nbd://storage:10809/vm1' }));
    const custody = new VraCustody();
    custody.told(5, ['vm1']);
    custody.told(6, []);
    const attachedAtNew = (words: Readonly<Record<string, readonly [number, ...string[]]>>): boolean => {
      const wordOf = (vraId: string): VraWord | undefined => {
        const [revision, ...vmIds] = words[vraId] ?? [];
        return revision === undefined ? undefined : { revision, attachedVmIds: new Set(vmIds) };
      };
      return desiredContents(facts([], { inventory: inventory([{ ...moved, disks }]), wordOf, custodyOf: (vraId) => (vraId === '11' ? custody : new VraCustody()) })).get('12')?.attachedVms.length === 1;
    };

    it.each([
      ['the old VRA still has it', { 11: [6, 'vm1'], 12: [6] }, false],
      ['both say that they have it: the old one goes first', { 11: [6, 'vm1'], 12: [6, 'vm1'] }, false],
      ['the old VRA was not heard of since the ZVM started', { 12: [6] }, false],
      ['the old VRA has said that it does not have it before it was told to have it', { 11: [4], 12: [6] }, false],
      ['the old VRA has let go', { 11: [6], 12: [6] }, true],
      ['it is there already, and another VRA is not heard of', { 12: [6, 'vm1'] }, true],
    ] as const)('%s', (_what, attached, isAttached) => {
      expect(attachedAtNew(attached)).toBe(isAttached);
    });
  });

  it('makes no checkpoints while a VM of the VPG is on a host without VRA', () => {
    const contents = desiredContents(facts([vpgRecord()], { vras: [vra('11', 'h1')] }));
    expect(contents.get('11')).toMatchObject({ protections: [{ vmId: 'vm1' }], barriers: [] });
  });

  it('keeps a protected VM attached while it is off, an unprotected one not', () => {
    const off = inventory([vm('vm1', 'h1', { powerState: 'poweredOff' }), vm('vm2', 'h2'), vm('vm3', 'h1', { powerState: 'poweredOff' })]);
    expect(desiredContents(facts([vpgRecord()], { inventory: off })).get('11')?.attachedVms.map(({ vmId }) => vmId)).toEqual(['vm1']);
  });

  it('attaches no VM whose disks are served from a view', () => {
    const recovered = vm('vm9', 'h1');
    const disks = recovered.disks.map((disk) => ({ ...disk, isFile: false }));
    expect(desiredContents(facts([], { inventory: inventory([{ ...recovered, disks }]) })).get('11')?.attachedVms).toEqual([]);
  });

  it.each(['creating', 'promoting', 'reversing', 'needsConfiguration', 'deleting', 'removed'] as const)('sends nothing for a VPG that is %s', (state) => {
    const contents = desiredContents(facts([vpgRecord({ state })]));
    expect([...contents.values()].flatMap((content) => [...content.protections, ...content.barriers])).toEqual([]);
  });

  it('goes on sending until a failover is committed', () => {
    expect(desiredContents(facts([vpgRecord({ state: 'failingOver' })])).get('11')?.protections).toHaveLength(1);
  });

  it('sends nothing for a VPG that recovers here', () => {
    const incoming = vpgRecord({ definition: vpgDefinition({ protectedSiteId: SITE_B, recoverySiteId: SITE_A, vms: [vpgVm('vm1')] }) });
    expect([...desiredContents(facts([incoming])).values()].flatMap((content) => content.protections)).toEqual([]);
  });
});
