import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { enrol } from '@tidemark/nest';
import { TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import type { FakeVra } from '../testing/fake-vra.js';
import { PairedSites } from '../testing/paired-sites.js';
import { eventually, type TestSite } from '../testing/test-site.js';

let sites: PairedSites;

beforeAll(async () => {
  sites = await PairedSites.open(['web']);
}, 60_000);
afterAll(async () => await sites?.close());

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
