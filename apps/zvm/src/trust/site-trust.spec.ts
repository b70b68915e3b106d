import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SiteTrust, type TrustConfig } from './site-trust.js';

const DAY_MS = 86_400_000;
let folder: string;
let nowMs = Date.parse('2026-11-22T08:00:00Z');
let config: TrustConfig;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zvm-trust-'));
  config = { siteId: 'aaaaaaaa-0000-4000-8000-000000000000', siteName: 'A', stateDir: join(folder, 'zvm'), address: '127.0.1.1', restHost: '0.0.0.0', natsUrl: 'tls://127.0.1.9:4222', natsPeerPort: 9081, natsPidFile: undefined };
});
afterEach(() => rm(folder, { recursive: true }));

const open = (): Promise<SiteTrust> => SiteTrust.open(config, () => nowMs, { postgres: ['127.0.1.3'] });
const leaf = (trust: SiteTrust, role: 'zvm' | 'nats' | 'postgres'): X509Certificate => new X509Certificate(trust.identities().get(role)!.current().certificatePem);

describe('the trust of a site', () => {
  it('is made once, before any server runs; a second time changes nothing', async () => {
    const first = await open();
    const again = await SiteTrust.open(config, () => nowMs);
    expect([...again.identities()].map(([role, identity]) => [role, identity.current()])).toEqual([...first.identities()].map(([role, identity]) => [role, identity.current()]));
    expect(again.nats.accountJwt).toBe(first.nats.accountJwt);
    expect([...first.identities().keys()]).toEqual(['zvm', 'nats', 'postgres']);
    expect(leaf(first, 'zvm').subjectAltName).toBe(`URI:tidemark://${config.siteId}/zvm/main, IP Address:127.0.1.1, DNS:localhost, IP Address:127.0.0.1`);
    expect(leaf(first, 'nats').subjectAltName).toBe(`URI:tidemark://${config.siteId}/nats/main, IP Address:127.0.1.1, IP Address:127.0.1.9`);
    expect(await readFile(join(config.stateDir, 'trust', 'ca.pem'), 'utf8')).toBe(first.ca.trustedPem.join(''));
    expect((await stat(join(config.stateDir, 'trust'))).mode & 0o777).toBe(0o700);
    expect((await stat(first.pathOf('nats', 'key.pem'))).mode & 0o777).toBe(0o600);
  });

  it('is completed where a crash left it unfinished', async () => {
    const first = await open();
    for (const part of ['nats', 'nats-authority', 'ca.pem']) await rm(join(config.stateDir, 'trust', part), { recursive: true });
    const again = await open();
    expect(again.ca.trustedPem).toEqual(first.ca.trustedPem);
    expect(again.zvm.current()).toEqual(first.zvm.current());
    expect([...again.identities().keys()]).toEqual(['zvm', 'nats', 'postgres']);
  });

  it('renews each certificate at two thirds of its life, with the addresses that it had', async () => {
    const trust = await open();
    const [before, names] = [leaf(trust, 'postgres'), leaf(trust, 'postgres').subjectAltName];
    nowMs += 59 * DAY_MS;
    expect(await trust.renewDue()).toEqual([]);
    nowMs += 2 * DAY_MS;
    expect(await trust.renewDue()).toEqual(['zvm', 'nats', 'postgres']);
    expect(leaf(trust, 'postgres').subjectAltName).toBe(names);
    expect(leaf(trust, 'postgres').validToDate.getTime() - before.validToDate.getTime()).toBe(61 * DAY_MS);
    expect(await trust.renewDue()).toEqual([]);
  });

  it('is made anew where its time was over, at a start as well, and where the clock had been ahead', async () => {
    await open();
    nowMs += 200 * DAY_MS;
    const later = await open();
    expect(later.bundle().verify(leaf(later, 'zvm'), nowMs).role).toBe('zvm');
    nowMs -= 190 * DAY_MS;
    const mended = await open();
    expect(mended.bundle().verify(leaf(mended, 'zvm'), nowMs).role).toBe('zvm');
  });

  it('takes a new address up at the next start', async () => {
    await open();
    config = { ...config, address: 'zvm.example.org' };
    expect(leaf(await open(), 'zvm').checkHost('zvm.example.org')).toBe('zvm.example.org');
  });

  it('goes over to the next CA in three steps, each of which a restart finds', async () => {
    const first = await open();
    const oldCa = first.ca.trustedPem;
    await first.ca.announceNext();
    expect(await first.renewDue()).toEqual(['zvm', 'nats', 'postgres']); // the same certificates, beside two CAs
    const announced = await open();
    expect(announced.zvm.current().certificatePem).toBe(first.zvm.current().certificatePem);
    expect(announced.zvm.current().caPem.join('')).toBe(announced.ca.trustedPem.join(''));
    await announced.ca.switchToNext();
    const switched = await open();
    expect(new TrustBundle([{ siteId: config.siteId, caPem: oldCa }]).identify(leaf(switched, 'nats'))).toBeUndefined();
    await switched.ca.retireOld();
    await switched.publish();
    expect(await switched.renewDue()).toEqual(['zvm', 'nats', 'postgres']);
    expect((await open()).bundle().identify(leaf(switched, 'nats'))?.role).toBe('nats');
  });
});
