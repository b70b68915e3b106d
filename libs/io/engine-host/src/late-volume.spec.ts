import { beforeEach, describe, expect, it } from '@jest/globals';
import { MemoryVolume } from '@tidemark/volume';
import { LateVolume } from './late-volume.js';
import type { ProtectedVolume } from './protected-volume.js';

const BYTES = 64 * 1024;
const bytes = (value: number): Uint8Array => new Uint8Array(512).fill(value);

describe('a disk whose server is away', () => {
  let memory: MemoryVolume;
  let log: string[];
  let attempts: { succeed(): void; fail(): void }[];
  let isFenced: boolean;
  let closedCount: number;

  beforeEach(() => {
    [memory, log, attempts, isFenced, closedCount] = [new MemoryVolume({ sizeBytes: BYTES }), [], [], false, 0];
  });

  function late(patienceMs?: number): LateVolume {
    const opened: ProtectedVolume = {
      sizeBytes: BYTES, isReadOnly: false, read: (offset, target) => memory.read(offset, target), writeZeroes: (offset, length) => memory.writeZeroes(offset, length), flush: () => void log.push('flush'),
      write: (offset, source) => (log.push(`write ${String(offset)}`), memory.write(offset, source)), allocation: (offset, length) => memory.allocation(offset, length), grow: async () => await Promise.resolve(),
      close: async () => void (closedCount += await Promise.resolve(1)),
    };
    return new LateVolume({
      sizeBytes: BYTES, isFenced: () => isFenced, onOpen: () => void log.push('open'), ...(patienceMs === undefined ? {} : { patienceMs }),
      open: () => new Promise((resolve, reject) => attempts.push({ succeed: () => resolve(opened), fail: () => reject(new Error('ECONNREFUSED')) })),
    });
  }

  const untilAttempt = async (number: number): Promise<void> => {
    while (attempts.length < number) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it('is tried again until it is open; requests wait for it, in their order', async () => {
    const volume = late();
    const waiting = [volume.write(4096, bytes(1)), volume.write(0, bytes(2)), volume.flush()];
    attempts[0]?.fail();
    // Who attaches its VM goes on.
    await volume.attemptedWithin(3_600_000);
    await untilAttempt(2);
    expect([volume.isOpen, log]).toEqual([false, []]);
    attempts[1]?.succeed();
    for (const each of waiting) await each;
    expect([volume.isOpen, log]).toEqual([true, ['open', 'write 4096', 'write 0', 'flush']]);
    const read = new Uint8Array(512);
    await volume.read(0, read);
    expect(read).toEqual(bytes(2));
  });

  it('is not waited for endlessly, and works when it is there after all', async () => {
    const volume = late(0);
    const write = volume.write(0, bytes(1));
    attempts[0]?.fail();
    await expect(write).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringContaining('ECONNREFUSED') });
    await expect(volume.write(0, bytes(1))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await untilAttempt(2);
    attempts[1]?.succeed();
    while (!volume.isOpen) await new Promise((resolve) => setTimeout(resolve, 5));
    await volume.write(0, bytes(3));
    expect(log).toEqual(['open', 'write 0']);
  });

  it('takes no write that has waited when the VM was fenced meanwhile; reads it answers', async () => {
    const volume = late();
    const writes = [volume.write(0, bytes(1)), volume.writeZeroes(0, 512)];
    const read = volume.read(0, new Uint8Array(512));
    isFenced = true;
    attempts[0]?.succeed();
    for (const write of writes) await expect(write).rejects.toMatchObject({ code: 'VOLUME_READ_ONLY' });
    await read;
    expect(log).toEqual(['open']);
  });

  it('lets go of a server that answers after it was closed, before the closing ends', async () => {
    const volume = late();
    const write = volume.write(0, bytes(1));
    const closing = volume.close();
    await expect(write).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.read(0, bytes(1))).rejects.toMatchObject({ code: 'VOLUME_CLOSED' });
    attempts[0]?.succeed();
    await closing;
    expect([closedCount, volume.isOpen, log]).toEqual([1, false, []]);
  });
});
