import { describe, expect, it } from '@jest/globals';
import type { VerificationVolumeV1 } from '@tidemark/contracts';
import { MemoryVolume, type Volume } from '@tidemark/volume';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { hashVolume } from './hash-volume.js';
import { Verifications } from './verifications.js';

const MIB = 1024 * 1024;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const wanted = (diskId: string, sizeBytes: number): VerificationVolumeV1 => ({ vmId: 'vm', diskId, vraId: '7', address: '127.0.0.1', port: 9180, exportName: diskId, sizeBytes });

async function until(what: string, look: () => boolean): Promise<void> {
  for (let turn = 0; !look(); turn += 1) {
    if (turn > 10_000) throw new Error(`not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function filled(bytes: Uint8Array): MemoryVolume {
  const volume = new MemoryVolume({ sizeBytes: bytes.length });
  volume.write(0, bytes);
  return volume;
}

/** Answers reads in another order than they were asked in, and fails the one at `failAt`. */
function unruly(inner: Volume, failAt = -1): Volume {
  return Object.assign(Object.create(inner) as Volume, {
    sizeBytes: inner.sizeBytes,
    read: async (offset: number, target: Uint8Array) => {
      await new Promise((resolve) => setTimeout(resolve, (offset / MIB) % 4 === 0 ? 8 : 1));
      if (offset === failAt) throw new Error('bad sector');
      await inner.read(offset, target);
    },
    close: async () => Promise.resolve(),
  });
}

describe('the hash of a volume', () => {
  it.each([1, 4096, 2 * MIB, 2 * MIB + 1, 8 * MIB, 13 * MIB + 512])('of %d bytes is that of its image, whatever order reads end in', async (sizeBytes) => {
    const bytes = randomBytes(sizeBytes);
    let read = 0;
    const found = await hashVolume(unruly(filled(bytes)), { signal: new AbortController().signal, onRead: (part) => (read += part) });
    expect([found, read]).toEqual([sha256(bytes), sizeBytes]);
  });

  it('ends with the error of a read, and with nothing under way', async () => {
    const inner = filled(randomBytes(12 * MIB));
    await expect(hashVolume(unruly(inner, 6 * MIB), { signal: new AbortController().signal, onRead: () => undefined })).rejects.toThrow('bad sector');
  });
});

describe('verifications', () => {
  function rig(volumes: Readonly<Record<string, Volume>>) {
    const time = { nowMs: 0 };
    const opened: string[] = [];
    const verifications = new Verifications({
      nowMs: () => time.nowMs,
      open: async ({ exportName }) => {
        opened.push(exportName);
        const volume = volumes[exportName];
        return volume ? Promise.resolve(volume) : Promise.reject(new Error('no such export'));
      },
    });
    return { verifications, opened, time };
  }

  it('give bytes and hash of each volume when all were read; asked twice, they read once', async () => {
    const [a, b] = [randomBytes(3 * MIB), randomBytes(MIB)];
    const { verifications, opened } = rig({ a: filled(a), b: filled(b) });
    const asked = { verificationId: randomUUID(), volumes: [wanted('a', a.length), wanted('b', b.length)] };
    verifications.start(asked);
    verifications.start(asked);
    expect(verifications.get(asked.verificationId)).toMatchObject({ state: 'reading', totalBytes: 4 * MIB, volumes: [] });
    await until('read', () => verifications.get(asked.verificationId).state === 'read');
    expect(verifications.get(asked.verificationId)).toEqual({
      state: 'read', problem: '', readBytes: 4 * MIB, totalBytes: 4 * MIB,
      volumes: [{ vmId: 'vm', diskId: 'a', readBytes: 3 * MIB, sha256: sha256(a) }, { vmId: 'vm', diskId: 'b', readBytes: MIB, sha256: sha256(b) }],
    });
    expect(opened).toEqual(['a', 'b']);
  });

  it('say which disk could not be read, and why; the next one is read nevertheless', async () => {
    const { verifications } = rig({ a: filled(randomBytes(MIB)), b: filled(randomBytes(MIB)) });
    const [bad, good] = [randomUUID(), randomUUID()];
    verifications.start({ verificationId: bad, volumes: [wanted('a', MIB), wanted('gone', MIB)] });
    verifications.start({ verificationId: good, volumes: [wanted('b', MIB)] });
    await until('read', () => verifications.get(good).state === 'read');
    expect(verifications.get(bad)).toMatchObject({ state: 'failed', problem: 'disk gone of VM vm: no such export', volumes: [] });
  });

  it('that are ended stop reading, and are not known any more', async () => {
    const { verifications, opened } = rig({ a: unruly(filled(randomBytes(64 * MIB))), b: filled(randomBytes(MIB)) });
    const [first, waiting] = [randomUUID(), randomUUID()];
    verifications.start({ verificationId: first, volumes: [wanted('a', 64 * MIB)] });
    verifications.start({ verificationId: waiting, volumes: [wanted('b', MIB)] });
    await until('it reads', () => verifications.get(first).readBytes > 0);
    await verifications.end(waiting);
    await verifications.end(first);
    expect(verifications.readBytes).toBeLessThan(64 * MIB);
    expect(() => verifications.get(first)).toThrow('is not known');
    await verifications.close();
    expect(opened).toEqual(['a']);
  });

  it('are no more than 64, and those that nobody asks after make room', async () => {
    const { verifications, time } = rig({});
    const start = (): void => verifications.start({ verificationId: randomUUID(), volumes: [wanted('gone', MIB)] });
    for (let count = 0; count < 64; count += 1) start();
    expect(start).toThrow('64 verifications');
    time.nowMs += 10 * 60_000 + 1;
    expect(start).not.toThrow();
    await verifications.close();
  });
});
