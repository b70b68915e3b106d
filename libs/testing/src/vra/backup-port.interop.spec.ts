import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { ComponentIdentity, Role } from '@tidemark/trust';
import { run, runOk } from '../interop/tools.js';
import { NbdClient } from './nbd-client.js';
import { until, VraRig } from './rig.js';
import { TestSite } from './test-site.js';

/** Port 9180 of a recovering VRA: a point in time, to be read by this site's own programs. */
let rig: VraRig;
let written: Buffer;
const EXPORT = 'vm-0-for-backup';

beforeEach(async () => {
  rig = await VraRig.start({ protectingCount: 1, recoveringCount: 1, vms: [{ vmId: 'vm', host: 0, recoveryHost: 0, diskBytes: [4 * MiB] }], backupPort: 0 });
  await rig.protect();
  const guest = await NbdClient.connect(rig.socketPath('p', 0), 'vm-0');
  written = randomBytes(MiB);
  await guest.write(0, written);
  guest.close();
  await until('it is durable there', () => rig.protecting[0]?.status().protections[0]?.lagBytes === 0);
  const before = Math.max(0, ...rig.listed());
  const checkpointId = await until('a checkpoint behind it', () => rig.listed().filter((id) => id > before)[1]);
  await rig.recovering[0]?.openView({ viewId: randomUUID(), vpgId: rig.vpgId, vmId: 'vm', checkpointId, purpose: 'read', volumes: [{ diskId: 'scsi:0:0', exportName: EXPORT }] });
});
afterEach(async () => await rig.close());

const port = (): number => rig.recovering[0]?.backupPort ?? 0;

async function identityOf(role: Role, instanceId: string, siteId?: string): Promise<ComponentIdentity> {
  return await (await TestSite.in(rig.folder, siteId)).identity(instanceId, { role });
}

/** As libnbd and QEMU want it: ca-cert.pem, client-cert.pem, client-key.pem. */
async function certificateFolder(identity: ComponentIdentity, name: string): Promise<string> {
  const folder = join(rig.folder, `tls-${name}`);
  await mkdir(folder);
  const { keyPem, certificatePem } = identity.current();
  const ca = (await TestSite.in(rig.folder)).trusted.caPem.join('\n');
  for (const [file, text] of [['ca-cert.pem', ca], ['client-cert.pem', certificatePem], ['client-key.pem', keyPem]] as const) await writeFile(join(folder, file), text);
  return folder;
}

const uri = (folder: string): string => `nbds://127.0.0.1:${String(port())}/${EXPORT}?tls-certificates=${folder}`;

describe('a view that is open to be read', () => {
  it('is copied by nbdcopy and read by qemu-img over TLS, with a certificate of the backup appliance', async () => {
    const folder = await certificateFolder(await identityOf('vba', 'vba-1'), 'vba');
    const copy = join(rig.folder, 'copy.raw');
    await runOk('nbdcopy', [uri(folder), copy]);
    const copied = await readFile(copy);
    expect([copied.length, copied.subarray(0, MiB).equals(written)]).toEqual([4 * MiB, true]);
    expect(await runOk('nbdinfo', ['--json', uri(folder)])).toMatch(/"is_read_only": true/);
    const image = `driver=nbd,host=127.0.0.1,port=${String(port())},export=${EXPORT},tls-creds=tls0`;
    const creds = `tls-creds-x509,id=tls0,endpoint=client,dir=${folder},verify-peer=on`;
    expect(await runOk('qemu-img', ['info', '--output=json', '--object', creds, '--image-opts', image])).toContain(`"virtual-size": ${String(4 * MiB)}`);
  });

  it('is listed and found by nobody in clear text: the answer is that TLS is required', async () => {
    const plain = `nbd://127.0.0.1:${String(port())}/${EXPORT}`;
    const { stderr, code } = await run('qemu-img', ['info', plain]);
    expect([code === 0, stderr]).toEqual([false, expect.stringMatching(/TLS.*required|requires? TLS/i)]);
    for (const args of [[plain], ['--list', plain]]) expect((await run('nbdinfo', args)).code).not.toBe(0);
  });

  it('is given to no VRA, no other site and nobody without a certificate', async () => {
    const strangers = [await identityOf('vra', 'p0'), await identityOf('vba', 'vba-1', 'another-site'), await identityOf('hypervisor', 'main')];
    for (const [index, stranger] of strangers.entries()) expect((await run('nbdinfo', [uri(await certificateFolder(stranger, String(index)))])).code).not.toBe(0);
    expect((await run('nbdinfo', [`nbds://127.0.0.1:${String(port())}/${EXPORT}`])).code).not.toBe(0);
  });

  it('is not served when TLS comes before STARTTLS, nor when options come with STARTTLS in one piece', async () => {
    const direct = connectTls({ host: '127.0.0.1', port: port(), rejectUnauthorized: false });
    await new Promise<void>((resolve) => void direct.on('error', () => undefined).once('close', () => resolve()));
    const injecting = connectTcp(port(), '127.0.0.1');
    const received: Buffer[] = [];
    injecting.on('data', (chunk) => received.push(chunk)).on('error', () => undefined);
    const option = (type: number): Buffer => Buffer.concat([Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, type, 0, 0, 0, 0])]);
    injecting.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), option(5), option(3)]));
    await new Promise<void>((resolve) => void injecting.once('close', () => resolve()));
    expect(Buffer.concat(received).length).toBeLessThanOrEqual(18 + 20);
  });

  it('goes with the view, and VMs that run on views are not shown there', async () => {
    const folder = await certificateFolder(await identityOf('zvm', 'main'), 'zvm');
    await rig.openViews(rig.listed().at(-1) ?? 0, 'live');
    const list = await runOk('nbdinfo', ['--list', '--json', `nbds://127.0.0.1:${String(port())}/?tls-certificates=${folder}`]);
    expect(list.match(/"export-name"/g)).toHaveLength(1);
    const [view] = rig.recovering[0]?.status().views ?? [];
    await rig.recovering[0]?.closeView(view?.viewId ?? '');
    expect((await run('nbdinfo', [uri(folder)])).code).not.toBe(0);
  });
});
