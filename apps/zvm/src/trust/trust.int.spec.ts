import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AlertApi, RestCertificateApi, SiteCertificatesApi } from '@tidemark/contracts';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { Clock } from '../clock.js';
import { type OneSite, openSite } from '../testing/one-site.js';
import { eventually } from '../testing/test-site.js';

let one: OneSite;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zvm-own-'));
  one = await openSite();
}, 60_000);
const sockets: TLSSocket[] = [];
afterAll(async () => {
  // The server waits for those who are still connected.
  for (const socket of sockets) socket.destroy();
  await one.close();
  await rm(folder, { recursive: true });
});

/** A connection that believes the site's CA only; `ca` for another one. */
async function dial(ca = readFileSync(join(one.site.config.stateDir, 'trust', 'ca.pem'), 'utf8')): Promise<TLSSocket> {
  const { port } = new URL(one.site.zvm?.url ?? '');
  const socket = connect({ host: '127.0.0.1', port: Number(port), ca });
  sockets.push(socket);
  await once(socket, 'secureConnect');
  return socket;
}

function companyCertificate(): { cert: string; key: string } {
  const [cert, key] = [join(folder, 'cert'), join(folder, 'key')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=company', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

describe('port 9669', () => {
  it('shows a certificate that the site’s CA has signed', async () => {
    const socket = await dial();
    expect(socket.getPeerX509Certificate()?.subject).toBe('CN=zvm main');
    socket.destroy();
    const shown = await one.admin.ok<RestCertificateApi>('GET', '/localsite/certificate');
    expect(shown).toMatchObject({ IsImported: false, Subject: 'CN=zvm main', Issuer: expect.stringContaining('Tidemark site') });
  });

  it('shows an imported one to new connections at once, keeps the open ones, and goes back', async () => {
    const open = await dial();
    const { cert, key } = companyCertificate();
    const shown = await one.admin.ok<RestCertificateApi>('PUT', '/localsite/certificate', { CertificatePem: cert, PrivateKeyPem: key });
    expect(shown.IsImported).toBe(true);
    const fresh = await dial(cert);
    expect(fresh.getPeerX509Certificate()?.subject).toBe('CN=company');
    fresh.destroy();
    await expect(dial()).rejects.toThrow(/self-signed/);
    open.write('GET /v1/localsite HTTP/1.1\r\nHost: x\r\n\r\n');
    const [answer] = (await once(open, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 401/);
    open.destroy();
    await one.site.stopZvm();
    await one.site.startZvm();
    (await dial(cert)).destroy();
    const admin = await one.site.client();
    await admin.ok('DELETE', '/localsite/certificate');
    (await dial()).destroy();
    one.admin.session = admin.session;
  });

  it('keeps what it has when a certificate is refused, and says why', async () => {
    const admin = await one.site.client();
    const { cert } = companyCertificate();
    const { key } = companyCertificate();
    expect(await admin.refused(400, 'PUT', '/localsite/certificate', { CertificatePem: cert, PrivateKeyPem: key })).toContain('is not the key of the first certificate');
    expect(await admin.refused(400, 'PUT', '/localsite/certificate', { CertificatePem: cert })).toContain('PrivateKeyPem');
    (await dial()).destroy();
  });

  it('alerts before certificates end, by component, and goes on to say so until they are renewed', async () => {
    const clock = one.site.zvm?.app.get(Clock);
    if (!clock) throw new Error('no ZVM');
    // The alerts' clock alone: whoever renews does not see that time has passed.
    clock.nowMs = () => Date.now() + 84 * 86_400_000;
    const admin = await one.site.client();
    const alerts = await eventually('all alerts', async () => {
      const found = (await admin.ok<AlertApi[]>('GET', '/alerts')).filter(({ HelpIdentifier }) => HelpIdentifier === 'TDM0011');
      return found.length === 3 && found;
    });
    expect(alerts.map(({ Description }) => /of (the .*?) ends at/.exec(Description)?.[1]).sort()).toEqual(['the NATS server', 'the ZVM', 'the hypervisor manager']);
    clock.nowMs = () => Date.now();
    const again = await one.site.client();
    await eventually('no alert', async () => (await again.ok<AlertApi[]>('GET', '/alerts')).every(({ HelpIdentifier }) => HelpIdentifier !== 'TDM0011'));
  });

  it('renewed certificates are served without a restart', async () => {
    const { SiteTrust } = await import('./site-trust.js');
    const { TrustService } = await import('./trust.service.js');
    const app = one.site.zvm?.app;
    const before = (await dial()).getPeerX509Certificate()?.fingerprint256;
    await app?.get(SiteTrust).ca.announceNext();
    await app?.get(SiteTrust).ca.switchToNext();
    await app?.get(SiteTrust).publish();
    await app?.get(TrustService).look();
    const renewed = await dial();
    expect(renewed.getPeerX509Certificate()?.fingerprint256).not.toBe(before);
    renewed.destroy();
    const admin = await one.site.client();
    const all = await admin.ok<SiteCertificatesApi>('GET', '/localsite/certificates');
    expect(all.Certificates.map(({ Component }) => Component)).toEqual(['SiteCa', 'SiteCa', 'Zvm', 'Nats', 'Hypervisor']);
  });
});
