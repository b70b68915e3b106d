import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { VerificationV1, VerificationVolumeV1 } from '@tidemark/contracts';
import { openNbdVolume } from '@tidemark/nbd-client';
import { NbdClient, TestSite, until, VraRig } from '@tidemark/testing';
import { clientOptions, type ComponentIdentity, TrustBundle } from '@tidemark/trust';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { openFromVra } from './open-from-vra.js';
import { Verifications } from './verifications.js';

const SIZE = 4 * MiB;
const WAIT_MS = 60_000;

let rig: VraRig;
let site: TestSite;
let vba: ComponentIdentity;
let guest: NbdClient;
let written: Buffer;
let wanted: VerificationVolumeV1;

/** A protected VM whose disk is known, and a view of a checkpoint behind all of it, at a real VRA that the VBA reads over TLS on 9180. */
beforeAll(async () => {
  rig = await VraRig.start({ protectingCount: 1, recoveringCount: 1, vms: [{ vmId: 'vm', host: 0, recoveryHost: 0, diskBytes: [SIZE] }], backupPort: 0 });
  site = await TestSite.in(rig.folder);
  vba = await site.identity('vba-1', { role: 'vba' });
  await rig.protect();
  guest = await NbdClient.connect(rig.socketPath('p', 0), 'vm-0');
  written = randomBytes(MiB);
  await guest.write(MiB, written);
  await until('it is durable there', () => rig.protecting[0]?.status().protections[0]?.lagBytes === 0, WAIT_MS);
  const before = Math.max(0, ...rig.listed());
  const checkpointId = await until('a checkpoint behind it', () => rig.listed().filter((id) => id > before)[1], WAIT_MS);
  const vra = rig.recovering[0];
  if (!vra) throw new Error('no VRA');
  await vra.openView({ viewId: randomUUID(), vpgId: rig.vpgId, vmId: 'vm', checkpointId, purpose: 'read', volumes: [{ diskId: 'scsi:0:0', exportName: 'view-0' }] });
  wanted = { vmId: 'vm', diskId: 'scsi:0:0', vraId: vra.options.vraId, address: '127.0.0.1', port: vra.backupPort, exportName: 'view-0', sizeBytes: SIZE };
}, 120_000);
afterAll(async () => {
  guest?.close();
  await rig?.close();
});

async function verified(volume: VerificationVolumeV1): Promise<VerificationV1> {
  const verifications = new Verifications({ open: openFromVra(vba), nowMs: () => performance.now() });
  const verificationId = randomUUID();
  verifications.start({ verificationId, volumes: [volume] });
  const ended = await until('it has ended', () => {
    const seen = verifications.get(verificationId);
    return seen.state === 'reading' ? undefined : seen;
  }, WAIT_MS);
  await verifications.close();
  return ended;
}

describe('a checkpoint at a VRA', () => {
  it('is read over TLS as the guest had written it, however much the guest writes meanwhile', async () => {
    const image = Buffer.alloc(SIZE);
    written.copy(image, MiB);
    const sha256 = createHash('sha256').update(image).digest('hex');
    await guest.write(0, randomBytes(MiB));
    expect(await verified(wanted)).toEqual({ state: 'read', problem: '', readBytes: SIZE, totalBytes: SIZE, volumes: [{ vmId: 'vm', diskId: 'scsi:0:0', readBytes: SIZE, sha256 }] });
  });

  it('is not read from another VRA than the one that is named, nor in another size', async () => {
    expect(await verified({ ...wanted, vraId: 'other' })).toMatchObject({ state: 'failed', problem: expect.stringMatching(/instanceId should be other/), readBytes: 0, volumes: [] });
    expect(await verified({ ...wanted, sizeBytes: SIZE + 4096 })).toMatchObject({ state: 'failed', problem: expect.stringMatching(/bytes instead of/), volumes: [] });
  });

  it('is read no longer by a VBA that was taken back, though its connection was open; a VRA of the same id is not meant', async () => {
    const bundle = new TrustBundle([site.trusted]);
    let lost = 0;
    const volume = await openNbdVolume({
      uri: `nbd://127.0.0.1:${String(wanted.port)}/view-0`, isReadOnly: true, limits: { patienceMs: 500 }, hooks: { onLost: () => (lost += 1) },
      tls: () => clientOptions(vba, bundle, { siteId: site.siteId, role: 'vra', instanceId: wanted.vraId }),
    });
    await volume.read(0, new Uint8Array(4096));
    const vra = rig.recovering[0];
    const state = { attachedVms: [], protections: [], barriers: [] };
    const voided = (role: 'vra' | 'vba') => ({ sites: [{ ...site.trusted, voided: [{ role, instanceId: 'vba-1', beforeMs: Date.now() }] }] });
    await vra?.applyDesiredState({ revision: 1000, trust: voided('vra'), ...state });
    await volume.read(0, new Uint8Array(4096));
    expect(lost).toBe(0);
    await vra?.applyDesiredState({ revision: 1001, trust: voided('vba'), ...state });
    await until('its connection has ended', () => lost > 0, WAIT_MS);
    await expect((async () => await volume.read(0, new Uint8Array(4096)))()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await volume.close();
  });
});
