import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { SiteCertificatesApi } from '@tidemark/contracts';
import { natsUserLife } from '@tidemark/nest';
import { type CurrentIdentity, fingerprint, LEAF_LIFETIME_MS, TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Clock } from '../clock.js';
import { VoidedComponentStore } from '../enrolment/voided-component.store.js';
import { PeerKeys } from '../peer/peer-keys.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import type { FakeVra } from '../testing/fake-vra.js';
import { PairedSites } from '../testing/paired-sites.js';
import { eventually, type TestSite } from '../testing/test-site.js';
import { SiteTrust } from './site-trust.js';

const DAY_MS = 86_400_000;
const LONG_MS = 90_000;
let sites: PairedSites;

beforeAll(async () => {
  sites = await PairedSites.open([]);
}, 120_000);
afterAll(async () => await sites?.close());

const AT = { a: 'atA', b: 'atB' } as const;

/** Logs in again where a clock that was set forward has ended the session: passwords are slow to check. */
async function get<T>(of: 'a' | 'b', path: string): Promise<T | undefined> {
  const answer = await sites[AT[of]].call('GET', path);
  if (answer.status === 401) sites[AT[of]] = await sites[of].client();
  return answer.status === 200 ? (JSON.parse(answer.text) as T) : undefined;
}

const rotation = async (of: 'a' | 'b'): Promise<SiteCertificatesApi['Rotation'] | undefined> => (await get<SiteCertificatesApi>(of, '/localsite/certificates'))?.Rotation;
const phaseIs = async (of: 'a' | 'b', phase: string): Promise<void> => {
  await eventually(`the CA of ${of} is ${phase}`, async () => (await rotation(of))?.Phase === phase, LONG_MS);
};

const newestOf = (site: TestSite): string => site.zvm?.app.get(SiteTrust).ca.newestPem ?? '';

const known = new Map<string, boolean>();

/** Asked again and again for the same. */
function believes(judge: FakeVra, { certificatePem }: CurrentIdentity): boolean {
  const { sites: trusted } = judge.state.trust;
  const question = trusted.flatMap(({ caPem }) => caPem).join('') + certificatePem;
  const answer = known.get(question) ?? new TrustBundle(trusted).identify(new X509Certificate(certificatePem)) !== undefined;
  known.set(question, answer);
  return answer;
}

/** VRAs of either site that do not believe what another one shows, by what each was told. */
function lockedOut(): string[] {
  const vras = [...sites.plane.vras.values()];
  return vras.flatMap((judge) => vras.filter(({ identity }) => !identity || !believes(judge, identity.current())).map(({ options }) => `${options.vraId} at ${judge.options.vraId}`));
}

/** Each hears the other's answer over the other's broker. */
const untilBothAnswer = async (): Promise<void> => {
  await eventually('both answer each other', async () =>
    (await get('a', `/virtualizationsites/${sites.b.config.siteId}/hosts`)) !== undefined && (await get('b', `/virtualizationsites/${sites.a.config.siteId}/hosts`)) !== undefined, LONG_MS);
};

describe('two paired sites', () => {
  it('change their CAs at the same time, wait for the last VRA of the other site, and no VRA of either is refused by another at any moment', async () => {
    await eventually('all believe each other', async () => Promise.resolve(lockedOut().length === 0), LONG_MS);
    const refused = new Set<string>();
    const watch = setInterval(() => lockedOut().forEach((pair) => refused.add(pair)), 50);
    const [away] = [...sites.plane.vras.values()].filter(({ options }) => options.siteId === sites.b.config.siteId);
    await away?.silence();
    await Promise.all([sites.atA.ok('POST', '/localsite/certificates/rotate'), sites.atB.ok('POST', '/localsite/certificates/rotate')]);
    await eventually('both wait for it', async () => {
      const [[first, ...others], [own, ...ofOwn]] = [(await rotation('a'))?.WaitsFor ?? [], (await rotation('b'))?.WaitsFor ?? []];
      return others.length + ofOwn.length === 0 && own !== undefined && /^VRA 'Z-VRA-b-host\d' to believe the next CA$/.test(own) && first === own.replace(' to', " of site 'Site b' to");
    }, LONG_MS);
    away?.start();
    await Promise.all([phaseIs('a', 'Steady'), phaseIs('b', 'Steady')]);
    await untilBothAnswer();
    clearInterval(watch);
    expect([...refused]).toEqual([]);
    for (const site of [sites.a, sites.b]) {
      const newest = fingerprint(newestOf(site));
      const own = [...sites.plane.vras.values()].filter(({ options }) => options.siteId === site.config.siteId);
      expect(own.map((vra) => vra.status().identity.signedBy)).toEqual(own.map(() => newest));
    }
  }, 240_000);
});

describe('a site whose ZVM is away while its peer changes its CA', () => {
  it('is waited for until the old CA ends, and is told of the new one over its own broker when it is back', async () => {
    const before = newestOf(sites.a);
    await sites.b.stopZvm();
    await sites.atA.ok('POST', '/localsite/certificates/rotate');
    await eventually('it waits', async () => (await rotation('a'))?.WaitsFor.join() === "site 'Site b' to believe the next CA", LONG_MS);
    const [app, oldEndsMs] = [sites.a.zvm?.app, new X509Certificate(before).validToDate.getTime()];
    const clock = app?.get(Clock);
    if (!clock) throw new Error('no ZVM');
    clock.nowMs = () => oldEndsMs - DAY_MS / 2;
    await phaseIs('a', 'Steady');
    clock.nowMs = () => Date.now();
    expect(newestOf(sites.a)).not.toBe(before);
    await sites.startZvm('b');
    await untilBothAnswer();
    await eventually('its VRAs believe those of the other one again', async () => Promise.resolve(lockedOut().length === 0), LONG_MS);
  }, 240_000);
});

describe("a site's user at its peer's broker", () => {
  const credentialsAt = async (site: TestSite, peer: TestSite): Promise<string> => await readFile(join(site.config.stateDir, 'trust', 'peers', peer.config.siteId, 'current', 'nats.creds'), 'utf8');

  it('is renewed when two thirds of its life are over, at both sites, and used from then on', async () => {
    const clocks = [sites.a, sites.b].map(({ zvm }) => zvm?.app.get(Clock));
    for (const clock of clocks) if (clock) clock.nowMs = () => Date.now() + 61 * DAY_MS;
    const renewedUntilMs = Date.now() + 61 * DAY_MS + LEAF_LIFETIME_MS - DAY_MS;
    await eventually('both are renewed', async () => {
      const found = [await credentialsAt(sites.a, sites.b), await credentialsAt(sites.b, sites.a)];
      return found.every((text) => (natsUserLife(text)?.notAfterMs ?? 0) > renewedUntilMs);
    }, LONG_MS);
    for (const clock of clocks) if (clock) clock.nowMs = () => Date.now();
    await untilBothAnswer();
  }, 180_000);

  it('is renewed with the same key when the answer was lost with the ZVM', async () => {
    const app = sites.a.zvm?.app;
    if (!app) throw new Error('no ZVM');
    const siteId = sites.b.config.siteId;
    const key = await app.get(PeerKeys).nextKey(siteId);
    await app.get(PeerLinkService).ask(siteId, 'trust.renew', { caPem: [newestOf(sites.a)], voided: app.get(VoidedComponentStore).list(), natsPublicKey: key.publicKey });
    await sites.restartZvm('a');
    await eventually('it is granted', async () => (await credentialsAt(sites.a, sites.b)).includes(key.seed), LONG_MS);
    await untilBothAnswer();
  }, 180_000);
});
