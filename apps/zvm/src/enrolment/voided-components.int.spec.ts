import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { enrol } from '@tidemark/nest';
import { TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { FakeVra } from '../testing/fake-vra.js';
import { PairedSites, pairSites } from '../testing/paired-sites.js';
import { eventually, type TestSite } from '../testing/test-site.js';
import { SiteTrust } from '../trust/site-trust.js';
import { VoidedComponentStore } from './voided-component.store.js';

let sites: PairedSites;
/** Of site b's trust folder, before anybody was removed. */
let backup: string;

beforeAll(async () => {
  sites = await PairedSites.open(['web']);
  backup = await mkdtemp(join(tmpdir(), 'zvm-backup-'));
  await cp(join(sites.b.config.stateDir, 'trust'), backup, { recursive: true, verbatimSymlinks: true });
}, 60_000);
afterAll(async () => {
  await sites?.close();
  await rm(backup, { recursive: true, force: true });
});

const vrasOf = (site: TestSite): FakeVra[] => [...sites.plane.vras.values()].filter(({ options }) => options.siteId === site.config.siteId);
const certificateOf = (vra: FakeVra): X509Certificate => new X509Certificate(vra.identity?.current().certificatePem ?? '');

/** As this VRA judges after what its ZVM has told it. */
function believes(judge: FakeVra, certificate: X509Certificate): boolean {
  return new TrustBundle(judge.state.trust.sites).identify(certificate) !== undefined;
}

/** The first of site b stays, the second one is the one that goes. */
function pickedVras(): { readonly own: FakeVra; readonly gone: FakeVra; readonly paired: FakeVra } {
  const [[own, gone], [paired]] = [vrasOf(sites.b), vrasOf(sites.a)];
  if (!own || !gone || !paired) throw new Error('too few VRAs');
  return { own, gone, paired };
}

const voidedAt = (judge: FakeVra, vraId: string) => judge.state.trust.sites.find(({ siteId }) => siteId === sites.b.config.siteId)?.voided.find((one) => one.role === 'vra' && one.instanceId === vraId);

describe('a certificate that its site takes back', () => {
  it('of a VRA that is enrolled anew is not believed at its own and at the paired site, and the new one is', async () => {
    const { own, gone, paired } = pickedVras();
    const { vraId: instanceId, hostId, folder } = gone.options;
    const { identity } = gone;
    if (!identity) throw new Error('not enrolled');
    const before = certificateOf(gone);
    await eventually('both believe it', async () => Promise.resolve(believes(own, before) && believes(paired, before)));
    const { Token: token } = await sites.atB.ok<{ Token: string }>('POST', `/vras/${instanceId}/enrolmenttoken`);
    await enrol({ token, role: 'vra', siteId: sites.b.config.siteId, instanceId, hostId, folder, identity });
    const after = certificateOf(gone);
    for (const judge of [own, paired]) {
      await eventually('the old one is void', async () => Promise.resolve(!believes(judge, before)));
      expect(believes(judge, after)).toBe(true);
      expect(voidedAt(judge, own.options.vraId)).toBeUndefined();
    }
  });

  it('of a VRA that is removed is not believed at either site, though the paired ZVM was away and both start anew', async () => {
    const { own, gone, paired } = pickedVras();
    const certificate = certificateOf(gone);
    expect([believes(own, certificate), believes(paired, certificate)]).toEqual([true, true]);
    await sites.a.stopZvm();
    await sites.done(sites.atB, 'DELETE', `/vras/${gone.options.vraId}`);
    await eventually('the own site voids it', async () => Promise.resolve(!believes(own, certificate)));
    expect(believes(paired, certificate)).toBe(true);
    await sites.startZvm('a');
    await eventually('the paired site voids it', async () => Promise.resolve(!believes(paired, certificate)));
    const revisions = [own, paired].map(({ state }) => state.revision);
    await sites.restartZvm('b');
    await sites.restartZvm('a');
    await eventually('both are in order', async () => (await sites.atA.ok<{ PairingStatus: number }[]>('GET', '/peersites')).length === 1);
    expect([own, paired].map((judge) => believes(judge, certificate))).toEqual([false, false]);
    expect([own, paired].map(({ state }) => state.revision)).toEqual(revisions);
    expect([own, paired].map((judge) => believes(judge, certificateOf(own)))).toEqual([true, true]);
  });
});

describe('a site that is brought back from a backup', () => {
  const trustPath = (...path: string[]): string => join(sites.b.config.stateDir, 'trust', ...path);

  /** With the ZVM of site b stopped, as whoever restores does it. */
  async function restored(change: (database: pg.Client) => Promise<unknown>): Promise<pg.Client> {
    await sites.b.stopZvm();
    const database = new pg.Client({ connectionString: sites.b.config.databaseUrl });
    await database.connect();
    await change(database);
    await sites.startZvm('b');
    return database;
  }

  const trustOfB = async (): Promise<SiteTrust> => await eventually('the ZVM is up', async () => Promise.resolve(sites.b.zvm?.app.get(VoidedComponentStore).isLoaded && sites.b.zvm.app.get(SiteTrust)));

  it('knows from its trust folder whom it has removed, and from its database', async () => {
    const [goneId] = [...sites.plane.vras.keys()].filter((vraId) => sites.b.zvm?.app.get(SiteTrust).removals.voided.some(({ instanceId, beforeMs }) => instanceId === vraId && beforeMs > Date.now()));
    const database = await restored(async (db) => await db.query('DELETE FROM voided_components'));
    await trustOfB();
    expect((await database.query('SELECT instance_id FROM voided_components')).rows).toContainEqual({ instance_id: goneId });
    await database.end();
    const other = await restored(async () => {
      await rm(trustPath('removals'), { recursive: true });
      await rm(trustPath('nats-authority'), { recursive: true });
      await cp(join(backup, 'nats-authority'), trustPath('nats-authority'), { recursive: true, verbatimSymlinks: true });
    });
    const trust = await trustOfB();
    expect(trust.removals.voided.map(({ instanceId }) => instanceId)).toContain(goneId);
    const { rows } = await other.query<{ public_key: string }>('SELECT public_key FROM nats_users WHERE owner_id = $1 AND revoked_at IS NOT NULL', [goneId]);
    await other.end();
    expect(rows.length).toBeGreaterThan(0);
    await eventually('its users are void again', async () => Promise.resolve(rows.every(({ public_key: key }) => trust.nats.isRevoked(key))));
  }, 120_000);

  it('does not let in again a site that it has unpaired', async () => {
    const siteId = sites.a.config.siteId;
    const before = await restored(async (db) => await db.query('CREATE TABLE kept AS SELECT * FROM peer_sites'));
    await before.end();
    await sites.done(sites.atB, 'DELETE', `/peersites/${siteId}`, { IsKeepTargetDisks: true });
    await eventually('both have let go', async () => (await sites.atB.ok<object[]>('GET', '/peersites')).length === 0 && (await sites.atA.ok<object[]>('GET', '/peersites')).length === 0, 60_000);
    const database = await restored(async (db) => await db.query('DELETE FROM peer_sites; INSERT INTO peer_sites SELECT * FROM kept'));
    expect((await database.query('SELECT site_id FROM kept')).rows).toEqual([{ site_id: siteId }]);
    expect(await sites.atB.ok('GET', '/peersites')).toEqual([]);
    await eventually('its row goes', async () => (await database.query('SELECT 1 FROM peer_sites')).rows.length === 0, 60_000);
    await database.end();
    // And it can be paired anew.
    expect(await pairSites(sites.atB, sites.a, sites.atA)).toContain('paired with');
    await sites.restartZvm('b');
    expect(await sites.atB.ok<object[]>('GET', '/peersites')).toHaveLength(1);
  }, 180_000);
});
