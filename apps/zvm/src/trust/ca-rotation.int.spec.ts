import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { SiteCertificatesApi } from '@tidemark/contracts';
import { ControlBus } from '@tidemark/nest';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type OneSite, openSite } from '../testing/one-site.js';
import { eventually } from '../testing/test-site.js';
import { SITE_BUS } from '../vra/vra-link.service.js';

let folder: string;
let one: OneSite;

beforeAll(async () => {
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
}, 30_000);

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

describe('a rotation of the CA', () => {
  it('waits for who has not followed, goes on after a restart, and leaves one CA that everybody shows', async () => {
    const before = await caPem();
    // nats-server cannot be told of its renewed certificate for now.
    await rename(join(folder, 'nats.pid'), join(folder, 'away'));
    await one.admin.ok('POST', '/localsite/certificates/rotate');
    expect(await one.admin.refused(409, 'POST', '/localsite/certificates/rotate')).toContain('is being rotated already');
    const waiting = await eventually('it waits', async () => {
      const all = await phaseIs('Switched');
      return all.Rotation.WaitsFor.length > 0 && all;
    });
    expect(waiting.Rotation.WaitsFor).toEqual(['the NATS server to show a certificate of the new CA']);
    // Clients of either CA are served meanwhile; the copy for them holds both.
    expect([await believes(await caPem()), (await caPem()).match(/BEGIN/g)?.length]).toEqual([true, 2]);

    await one.site.stopZvm();
    await one.site.startZvm();
    expect((await certificates()).Rotation.Phase).toBe('Switched');
    await rename(join(folder, 'away'), join(folder, 'nats.pid'));
    const done = await phaseIs('Steady');
    expect(done.Rotation.WaitsFor).toEqual([]);
    expect([await believes(await caPem()), await believes(before), (await caPem()).match(/BEGIN/g)?.length]).toEqual([true, false, 1]);
    // The broker shows the new one as well, and its clients believe it.
    const bus = one.site.zvm?.app.get<ControlBus>(SITE_BUS);
    await eventually('the broker is connected', async () => bus?.isConnected);
    expect(done.Certificates.map(({ Component }) => Component)).toEqual(['SiteCa', 'Zvm', 'Nats', 'Hypervisor']);
  }, 120_000);
});
