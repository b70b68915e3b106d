import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AuditEntryApi, inboxNameOf, type SiteCertificatesApi, subjectOf, type VbaApi, type VbaTokenApi } from '@tidemark/contracts';
import { type Appliance, ControlBus, enrol, IdentityKeeper, ownBrokerAccess } from '@tidemark/nest';
import type { ComponentIdentity } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { type OneSite, openSite } from '../testing/one-site.js';
import { completed } from '../testing/paired-sites.js';
import { eventually } from '../testing/test-site.js';
import { SITE_BUS } from '../vra/vra-link.service.js';

const ROOT = join(import.meta.dirname, '../../../..');
const run = promisify(execFile);

let folder: string;
let one: OneSite;

beforeAll(async () => {
  await run(process.execPath, [join(ROOT, 'tools/build.mjs')], { cwd: ROOT });
  folder = await mkdtemp(join(tmpdir(), 'zvm-rotation-'));
  one = await openSite({ TIDEMARK_NATS_PID_FILE: join(folder, 'nats.pid') });
}, 60_000);
afterAll(async () => {
  await one.close();
  await rm(folder, { recursive: true });
});

const caPem = (): Promise<string> => readFile(join(one.site.config.stateDir, 'trust', 'ca.pem'), 'utf8');
const certificates = async (): Promise<SiteCertificatesApi> => await (await one.site.client()).ok<SiteCertificatesApi>('GET', '/localsite/certificates');
const phaseIs = (phase: string): Promise<SiteCertificatesApi> => eventually(`the CA is ${phase}`, async () => {
  const all = await certificates();
  return all.Rotation.Phase === phase && all;
}, 90_000);

async function believes(ca: string): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(one.site.zvm?.url ?? '').port), ca });
  try {
    await once(socket, 'secureConnect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** What keeps the identity of a VBA, and its heartbeat. */
async function startVba(): Promise<{ readonly identity: ComponentIdentity; close(): Promise<void> }> {
  const { siteId, natsUrl } = one.site.config;
  const hostId = 'backup-host';
  const { VbaIdentifier: instanceId, Token: token } = await one.admin.ok<VbaTokenApi>('POST', '/vbas', { VbaName: 'backup', HostIdentifier: hostId, IpAddress: '127.0.0.1' });
  const identity = await enrol({ token, role: 'vba', siteId, instanceId, hostId, folder: join(folder, 'vba') });
  const bus = new ControlBus({ url: natsUrl, name: 'vba', access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vba', vbaId: instanceId })) });
  const appliance: Appliance = { siteId, role: 'vba', instanceId, hostId, address: '127.0.0.1', healthPort: 0, enrolmentTokenFile: join(folder, 'none') };
  const keeper = new IdentityKeeper(appliance, bus, identity, { trustedSites: [] });
  keeper.onApplicationBootstrap();
  const subject = subjectOf({ siteId, service: 'vba', instanceId, channel: 'event', topic: 'status.published' });
  const heartbeat = (): void => bus.publish(subject, { vbaId: instanceId, hostId, version: '1', address: '127.0.0.1', startedAtMs: 0, identity: keeper.marks });
  const timer = setInterval(heartbeat, 300);
  await eventually('it is heard', async () => (await one.admin.ok<VbaApi>('GET', `/vbas/${instanceId}`)).IsConnected);
  return {
    identity,
    close: async () => {
      clearInterval(timer);
      await keeper.onApplicationShutdown();
      await bus.close();
      // The next rotation would wait for it.
      const client = await one.site.client();
      await completed(client, await client.ok<string>('DELETE', `/vbas/${instanceId}`));
    },
  };
}

describe('a rotation of the CA', () => {
  it('waits for who has not followed, goes on after a restart, and leaves one CA that everybody shows', async () => {
    const before = await caPem();
    const vba = await startVba();
    // nats-server cannot be told of its renewed certificate for now.
    await rename(join(folder, 'nats.pid'), join(folder, 'away'));
    await one.admin.ok('POST', '/localsite/certificates/rotate');
    expect(await one.admin.refused(409, 'POST', '/localsite/certificates/rotate')).toContain('is being rotated already');
    await phaseIs('Switched');
    // The VBA follows by itself.
    await eventually('it waits for NATS alone', async () => (await certificates()).Rotation.WaitsFor.join() === 'the NATS server to show a certificate of the new CA', 90_000);
    // Clients of either CA are served meanwhile; the copy for them holds both.
    expect([await believes(await caPem()), (await caPem()).match(/BEGIN/g)?.length]).toEqual([true, 2]);

    await one.site.stopZvm();
    await one.site.startZvm();
    expect((await certificates()).Rotation.Phase).toBe('Switched');
    await rename(join(folder, 'away'), join(folder, 'nats.pid'));
    const done = await phaseIs('Steady');
    expect(done.Rotation.WaitsFor).toEqual([]);
    // Written down for clients behind the change of phase.
    await eventually('the copy for clients holds the new CA alone', async () => (await caPem()).match(/BEGIN/g)?.length === 1);
    expect([await believes(await caPem()), await believes(before)]).toEqual([true, false]);
    // A backup appliance, which gets no desired state, shows a certificate of the new one, and believes no other.
    expect(new X509Certificate(vba.identity.current().certificatePem).verify(new X509Certificate(await caPem()).publicKey)).toBe(true);
    await eventually('it has forgotten the old CA', async () => Promise.resolve(vba.identity.current().caPem.join('').trim().match(/BEGIN/g)?.length === 1));
    expect(vba.identity.current().caPem.join('').trim()).toBe((await caPem()).trim());
    await vba.close();
    // The broker shows the new one as well, and its clients believe it.
    const bus = one.site.zvm?.app.get<ControlBus>(SITE_BUS);
    await eventually('the broker is connected', async () => bus?.isConnected);
    expect(done.Certificates.map(({ Component }) => Component)).toEqual(['SiteCa', 'Zvm', 'Nats', 'Hypervisor']);
    const prints = [before, await caPem()].map((pem) => new X509Certificate(pem).fingerprint256);
    const admin = await one.site.client();
    const changes = async (action: string): Promise<unknown> => (await admin.ok<AuditEntryApi[]>('GET', `/audit?action=${encodeURIComponent(action)}&result=done`)).map(({ Method, Changes }) => [Method, Changes]);
    const [was, is, both] = [JSON.stringify(prints.slice(0, 1)), JSON.stringify(prints.slice(1)), JSON.stringify(prints)];
    expect(await changes('POST /localsite/certificates/rotate')).toEqual([['Password', [{ Path: 'trusted', Before: was, After: both }]]]);
    expect(await changes('ca.switched')).toEqual([['System', [{ Path: 'signer', Before: JSON.stringify(prints[0]), After: JSON.stringify(prints[1]) }, expect.objectContaining({ Path: 'trusted' })]]]);
    expect(await changes('ca.retired')).toEqual([['System', [{ Path: 'trusted', Before: expect.any(String), After: is }]]]);
    expect(JSON.stringify(await changes('certificate.renewed'))).toContain('certificate');
    expect(JSON.stringify(await changes('identity.renewed'))).toContain('Appliance');
  }, 300_000);
});

describe('the command line, which was told the CA of before', () => {
  /** Rejects for every exit code but 0. */
  async function tidemark(...args: string[]): Promise<{ stdout: string; stderr: string }> {
    const password = (await readFile(join(one.site.config.stateDir, 'admin-password'), 'utf8')).trim();
    const env = { PATH: process.env['PATH'], TIDEMARK_URL: one.site.zvm?.url, TIDEMARK_PASSWORD: password, TIDEMARK_CA: join(folder, 'ca.pem') };
    return await run(process.execPath, [join(ROOT, 'apps/cli/bin/tidemark.mjs'), ...args], { env });
  }
  const copyCa = (): Promise<void> => copyFile(join(one.site.config.stateDir, 'trust', 'ca.pem'), join(folder, 'ca.pem'));

  it('rotates it, and gives the one of now', async () => {
    await copyCa();
    const before = await caPem();
    const { stdout, stderr } = await tidemark('certificate', 'rotate');
    expect(stdout).toContain('the CA is rotated');
    expect(stderr).toMatch(/100 % only the new CA is trusted\n$/);
    await expect(tidemark('certificate')).rejects.toMatchObject({ code: 3, stderr: expect.stringContaining('is not of a CA that is trusted here') });
    await copyCa();
    const now = (await tidemark('certificate', 'ca')).stdout;
    expect([now === (await caPem()), now === before]).toEqual([true, false]);
  }, 60_000);

  it('imports a certificate and takes it away again', async () => {
    const [chain, key] = [join(folder, 'chain.pem'), join(folder, 'key.pem')];
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=company', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', chain]);
    expect((await tidemark('certificate', 'import', chain, key)).stdout).toContain('9669 is served with CN=company until');
    await copyFile(chain, join(folder, 'ca.pem'));
    expect((await tidemark('certificate', 'list')).stdout).toMatch(/Rest +CN=company .* imported/);
    expect((await tidemark('certificate', 'remove')).stdout).toContain("of the site's CA");
    await copyCa();
    expect((await tidemark('certificate', 'list')).stdout).toMatch(/Rest +CN=zvm main .* of the site's CA/);
  }, 60_000);
});
