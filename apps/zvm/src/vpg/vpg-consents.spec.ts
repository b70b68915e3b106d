import { beforeEach, describe, expect, it } from '@jest/globals';
import type { AuditDraft, AuditLog } from '../audit/audit-log.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import type { EventService } from '../event/event.service.js';
import type { PeerStore } from '../peer/peer.store.js';
import type { Database } from '../persistence/database.js';
import { SITE_A, SITE_B, vpgDefinition, vpgRecord, vpgVm } from '../testing/factories.js';
import type { VraStateService } from '../vra/vra-state.service.js';
import type { CatalogueStore } from './catalogue.store.js';
import { ProtectedSite } from './protected-site.service.js';
import { VpgConsents } from './vpg-consents.service.js';
import type { VpgRecord } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

const SITE_C = 'cccccccc-1111-4000-8000-000000000000';
const STOLEN = '99999999-0000-4000-8000-000000000000';
const config = { siteId: SITE_A, siteName: 'A' } as ZvmConfig;
const rows = { upsert: () => Promise.resolve(), delete: () => Promise.resolve(), insert: () => Promise.resolve() };
/** Rows reach it in a later turn of the loop: what happens at once with another VPG comes in between. */
const later = async (work: (db: typeof rows) => unknown): Promise<unknown> => {
  await new Promise((resolve) => setImmediate(resolve));
  return await work(rows);
};
const database = { onReady: () => undefined, use: later, transaction: later } as unknown as Database;
const unused = undefined as never;

describe('site A, of which paired sites claim VMs', () => {
  let vpgs: VpgStore;
  let consents: VpgConsents;
  let site: ProtectedSite;
  let allowed: Set<string>;
  let entries: AuditDraft[];
  let events: unknown[];
  let nowMs: number;

  beforeEach(() => {
    vpgs = new VpgStore(database);
    nowMs = 0;
    [allowed, entries, events] = [new Set(), [], []];
    const find = (siteId: string): object => ({ siteId, name: siteId === SITE_B ? 'B' : 'C', canProtect: allowed.has(siteId) });
    const audit = { append: (draft: AuditDraft) => Promise.resolve(entries.push(draft)) } as unknown as AuditLog;
    const record = { record: (event: unknown) => Promise.resolve(events.push(event)) } as unknown as EventService;
    consents = new VpgConsents(database, { nowMs: () => nowMs } as Clock, vpgs, { find, get: find } as unknown as PeerStore, audit, record, config);
    const catalogues = { clear: () => Promise.resolve(), forget: () => undefined } as unknown as CatalogueStore;
    site = new ProtectedSite(vpgs, catalogues, unused, { poke: () => undefined } as unknown as VraStateService, unused, consents, config);
  });

  const claim = (vmIds: readonly string[], values: Partial<VpgRecord> = {}, vpgId = STOLEN): VpgRecord =>
    vpgRecord({ definition: vpgDefinition({ vpgId, name: `Of ${vpgId}`, vms: vmIds.map((id) => vpgVm(id)) }), ...values });
  const refusal = async (record: VpgRecord, siteId = SITE_B): Promise<string> => await site.put(record, siteId).then(() => 'taken', (error: unknown) => (error instanceof ZvmError ? `${error.code}: ${error.message}` : String(error)));
  const begun = async (): Promise<void> => {
    await consents.give({ vpgId: vpgDefinition().vpgId, recoverySiteId: SITE_B, vmIds: ['vm1', 'vm2'] });
    await site.put(vpgRecord({ state: 'creating' }), SITE_B);
  };

  it.each(['creating', 'protecting', 'failingOver', 'promoting', 'reversing', 'needsConfiguration', 'deleting'] as const)('gives none to a VPG in state %s that nobody here has asked for', async (state) => {
    expect(await refusal(claim(['vm1'], { state }))).toMatch(state === 'creating' || state === 'protecting' ? /ZVM_FORBIDDEN: site A has not asked for VPG/ : /ZVM_CONFLICT: site A knows no VPG .* none begins in state/);
    expect([vpgs.all(), entries]).toEqual([[], []]);
  });

  it('gives nothing on what it asked for a day ago', async () => {
    await consents.give({ vpgId: STOLEN, recoverySiteId: SITE_B, vmIds: ['vm1'] });
    nowMs = 24 * 3_600_000;
    expect(await refusal(claim(['vm1'], { state: 'creating' }))).toMatch(/has not asked for VPG/);
    nowMs -= 1;
    expect(await refusal(claim(['vm1'], { state: 'creating' }))).toBe('taken');
  });

  it('gives those that it has asked to be protected, to whom it asked, in the VPG that it asked for', async () => {
    await consents.give({ vpgId: STOLEN, recoverySiteId: SITE_B, vmIds: ['vm1'] });
    expect(await refusal(claim(['vm1', 'vm2']))).toMatch(/ZVM_FORBIDDEN: VM vm2 is not among those/);
    expect(await refusal({ ...claim(['vm1']), definition: { ...claim(['vm1']).definition, recoverySiteId: SITE_C } }, SITE_C)).toMatch(/has not asked for VPG/);
    expect(await refusal(claim(['vm1'], {}, 'eeeeeeee-0000-4000-8000-000000000000'))).toMatch(/has not asked for VPG/);
    expect(await refusal(claim(['vm1'], { state: 'needsConfiguration' }))).toMatch(/none begins in state needsConfiguration/);
    expect(await refusal(claim(['vm1'], { state: 'creating' }))).toBe('taken');
    expect(await refusal(claim(['vm1'], { generation: 2, state: 'needsConfiguration' }))).toBe('taken');
  });

  it('adds none to a VPG that is there, nor lets a third site have it', async () => {
    await begun();
    expect(await refusal(vpgRecord({ generation: 2, definition: vpgDefinition({ vms: [vpgVm('vm1'), vpgVm('vm2'), vpgVm('vm3')] }) }))).toMatch(/ZVM_FORBIDDEN: VM vm3 is not in VPG 'App' as this site knows it/);
    expect(await refusal(vpgRecord({ generation: 2, definition: vpgDefinition({ recoverySiteId: SITE_C }) }), SITE_C)).toMatch(/ZVM_NOT_FOUND/);
    expect(await refusal(vpgRecord({ generation: 2 }), SITE_C)).toMatch(/ZVM_CONFLICT/);
    expect(vpgs.find(vpgDefinition().vpgId)).toEqual(vpgRecord({ state: 'creating' }));
    expect(await refusal(vpgRecord({ generation: 2 }))).toBe('taken');
  });

  it('gives free ones to a site that may begin by itself, which the audit and the events say', async () => {
    allowed.add(SITE_B);
    expect(await refusal(claim(['vm7'], { state: 'failingOver' }))).toMatch(/none begins in state failingOver/);
    expect([await refusal(claim(['vm7'])), vpgs.all().length]).toEqual(['taken', 1]);
    expect(entries).toMatchObject([{ method: 'Peer', user: 'site B', subject: SITE_B, action: 'vpg.begun', entities: [`vpg:${STOLEN}`, `site:${SITE_B}`], message: expect.stringContaining('vm7') }]);
    expect(events).toMatchObject([{ type: 'ProtectedByPeer', vpgIds: [STOLEN] }]);
    expect([await refusal(claim(['vm7'], { generation: 2 })), entries.length]).toEqual(['taken', 1]);
  });

  it('gives not even that site one that another pairing protects or has recovered here', async () => {
    await begun();
    for (const siteId of [SITE_B, SITE_C]) allowed.add(siteId);
    const ofC = (vmIds: readonly string[]): VpgRecord => ({ ...claim(vmIds), definition: { ...claim(vmIds).definition, recoverySiteId: SITE_C } });
    expect(await refusal(ofC(['vm9', 'vm2']), SITE_C)).toMatch(/ZVM_FORBIDDEN: VM vm2 of site A is in another VPG/);
    const tested = { phase: 'running', vms: [{ recoveredVmId: 'test-1' }] } as unknown as VpgRecord['failoverTest'];
    await vpgs.decide('dddddddd-0000-4000-8000-000000000000', () => Promise.resolve(vpgRecord({ failoverTest: tested, definition: vpgDefinition({ vpgId: 'dddddddd-0000-4000-8000-000000000000', protectedSiteId: SITE_B, recoverySiteId: SITE_A }) })));
    expect(await refusal(ofC(['test-1']), SITE_C)).toMatch(/VM test-1 of site A is in another VPG/);
    expect(entries).toEqual([]);
    await consents.give({ vpgId: STOLEN, recoverySiteId: SITE_C, vmIds: ['vm2'] });
    expect(await refusal(ofC(['vm2']), SITE_C)).toBe('taken');
  });

  it('gives one VM to one of two that claim it at once', async () => {
    for (const siteId of [SITE_B, SITE_C]) allowed.add(siteId);
    const other = claim(['vm1'], {}, 'eeeeeeee-0000-4000-8000-000000000000');
    const answers = await Promise.all([refusal(claim(['vm1'])), refusal({ ...other, definition: { ...other.definition, recoverySiteId: SITE_C } }, SITE_C)]);
    expect(answers).toEqual(['taken', expect.stringContaining('is in another VPG')]);
  });

  it('gives of a VPG that it has handed over the recovered VMs alone, from the beginning', async () => {
    const failover = { phase: 'handedOver', vms: [{ recoveredVmId: 'new1' }] } as unknown as VpgRecord['failover'];
    const { vpgId } = vpgDefinition();
    await vpgs.decide(vpgId, () => Promise.resolve(vpgRecord({ definition: vpgDefinition({ protectedSiteId: SITE_B, recoverySiteId: SITE_A }), state: 'reversing', failover })));
    const turned = (vmId: string, state: VpgRecord['state']): VpgRecord => vpgRecord({ definition: vpgDefinition({ vms: [vpgVm(vmId)] }), state, generation: 7 });
    expect(await refusal(turned('vm1', 'creating'))).toMatch(/ZVM_FORBIDDEN: VM vm1 is not in VPG/);
    expect(await refusal(turned('new1', 'needsConfiguration'))).toMatch(/does not begin in state needsConfiguration/);
    expect(await refusal(turned('new1', 'creating'))).toBe('taken');
  });
});
