import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AlertApi, AuditEntryApi, VpgApi } from '@tidemark/contracts';
import { PairedSites } from './testing/paired-sites.js';
import type { RestClient } from './testing/rest-client.js';
import { eventually } from './testing/test-site.js';

let sites: PairedSites;
let vpgId: string;

beforeAll(async () => {
  sites = await PairedSites.open(['web', 'db']);
  vpgId = await sites.protect('App', ['web', 'db']);
}, 120_000);
afterAll(async () => await sites?.close());

const fencedAtA = (): string[] => [...sites.plane.vras.values()].filter((vra) => vra.options.siteId === sites.a.config.siteId)
  .flatMap((vra) => vra.state.attachedVms.filter(({ isFenced }) => isFenced === true).map(({ vmId }) => vmId));
const alertsAtA = async (): Promise<string[]> => (await sites.atA.ok<{ HelpIdentifier: string }[]>('GET', '/alerts?isDismissed=false')).map(({ HelpIdentifier }) => HelpIdentifier);
const eventsAtA = async (what: RegExp): Promise<string[]> => (await sites.atA.ok<{ Description: string }[]>('GET', '/events')).map(({ Description }) => Description).filter((text) => what.test(text));
const auditAtA = async (action: string): Promise<AuditEntryApi[]> => await sites.atA.ok<AuditEntryApi[]>('GET', `/audit?action=${action}`);
const atA = (): Promise<VpgApi> => sites.vpg(sites.atA, vpgId);

type Alert = Pick<AlertApi, 'HelpIdentifier' | 'Description' | 'Link' | 'IsDismissed'>;
const lossAlerts = async (client: RestClient): Promise<Alert[]> => (await client.ok<Alert[]>('GET', '/alerts')).filter(({ HelpIdentifier }) => HelpIdentifier === 'TDM0022');

describe('acknowledged writes that the recovery side has lost', () => {
  it('are an alarm at both sites, also after the protecting VRA was started anew and knows of nothing', async () => {
    const protecting = [...sites.plane.vras.values()].find((vra) => vra.options.siteId === sites.a.config.siteId && vra.state.protections.length > 0);
    if (!protecting) throw new Error('nothing protects');
    protecting.loss = { count: 1, atMs: Date.UTC(2026, 10, 22, 3, 4), detail: 'durable up to 4, acknowledged 9' };
    const texts = await eventually('both sites say it', async () => {
      const [ofA, ofB] = [await lossAlerts(sites.atA), await lossAlerts(sites.atB)];
      return ofA.length > 0 && ofB.length > 0 ? [...ofA, ...ofB].map(({ Description }) => Description ?? '') : undefined;
    }, 60_000);
    for (const text of texts) expect(text).toMatch(/^at 2026-11-22T03:04Z writes of '(web|db)' in VPG 'App' that site .+ had acknowledged.*durable up to 4, acknowledged 9/);
    await eventually('the VPG shows it at both sites', async () => (await atA()).AlertStatus === 2 && (await sites.vpg(sites.atB, vpgId)).AlertStatus === 2);
    protecting.loss = null;
    const recovering = [...sites.plane.vras.values()].find((vra) => vra.recoveries.size > 0);
    if (!recovering) throw new Error('nothing recovers');
    expect((await atA()).FailSafeHistory).toEqual({ ActualFailSafeHistory: 0, ConfiguredFailSafeHistory: 60, FailSafeDescription: '' });
    recovering.isAtHardLimit = true;
    await eventually('the pause shows at both sites', async () => (await Promise.all([atA(), sites.vpg(sites.atB, vpgId)])).every(({ FailSafeHistory }) => FailSafeHistory?.FailSafeDescription?.includes('its last checkpoint is kept')));
    recovering.isAtHardLimit = false;
  });
});

describe('a protected site that returns after a failover', () => {
  it('is not fenced by a failover that may still be rolled back', async () => {
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, {});
    await eventually('site a has heard of it', async () => (await atA()).Status === 4 || (await atA()).SubStatus !== 0);
    expect(fencedAtA()).toEqual([]);
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverRollback`, {});
    await sites.untilProtected(vpgId);
    expect(fencedAtA()).toEqual([]);
    expect(await sites.atA.refused(409, 'POST', `/vpgs/${vpgId}/ClaimOwnership`, { Force: true })).toContain('not fenced');
  });

  it('finds its VMs fenced when the failover was committed while it was away, and says so in status, alert and event', async () => {
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, {});
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {});
    await sites.startZvm('a');
    await eventually('both VMs are fenced at their VRAs', async () => fencedAtA().length === 2);
    expect((await atA()).SubStatusDescription).toContain('those at this site are fenced, their writes are refused');
    await eventually('the alert', async () => (await alertsAtA()).includes('TDM0020'));
    expect(await eventsAtA(/^the VMs of VPG 'App' are fenced/)).toEqual([expect.stringContaining('epoch 3')]);
  });

  it('keeps them fenced over a restart of its ZVM, and tells it once', async () => {
    await sites.restartZvm('a');
    await eventually('it shows the VPG', async () => (await atA()).SubStatusDescription?.includes('fenced'));
    expect(fencedAtA()).toHaveLength(2);
    expect(await eventsAtA(/^the VMs of VPG 'App' are fenced/)).toHaveLength(1);
    expect((await auditAtA('ownership.fenced'))[0]).toMatchObject({ Method: 'System', Entities: expect.arrayContaining([`vpg:${vpgId}`, `site:${sites.b.config.siteId}`]), Input: { epoch: 3 }, Message: expect.stringMatching(/^the VMs of VPG 'App'/) });
  });

  it('gives them back to nobody but a person who insists after the risk was named', async () => {
    const risk = await sites.atA.refused(409, 'POST', `/vpgs/${vpgId}/ClaimOwnership`, {});
    expect(risk).toMatch(/both sites run the same VMs.*lost for good/);
    expect(fencedAtA()).toHaveLength(2);
    await sites.atA.ok('POST', `/vpgs/${vpgId}/ClaimOwnership`, { Force: true });
    await eventually('the fence is lifted', async () => fencedAtA().length === 0);
    await eventually('the alert names who it was', async () => (await alertsAtA()).includes('TDM0021') && !(await alertsAtA()).includes('TDM0020'));
    expect(await eventsAtA(/has claimed the VMs of VPG 'App' for this site by force/)).toHaveLength(1);
    const [claim, refused] = await auditAtA('ClaimOwnership');
    expect([claim?.Changes, refused?.Result]).toEqual([expect.arrayContaining([{ Path: 'isLifted', Before: 'false', After: 'true' }, { Path: 'liftedBy', Before: 'null', After: '"admin"' }]), 2]);
    expect((await atA()).SubStatusDescription).toContain('both sites may run them');
  });
});

describe('the alarm of a loss', () => {
  it('has outlived two restarts of its ZVM and a failover, and ends when a person has read it', async () => {
    const standing = await lossAlerts(sites.atA);
    expect(standing.length).toBeGreaterThan(0);
    for (const { Link } of standing) await sites.atA.ok('POST', `/alerts/${Link?.identifier ?? ''}/dismiss`);
    await eventually('it is off', async () => (await lossAlerts(sites.atA)).length === 0);
    expect(await eventsAtA(/^TDM0022: .*'App'/)).toHaveLength(2 * standing.length);
  });
});
