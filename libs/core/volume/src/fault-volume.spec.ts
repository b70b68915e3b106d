import { describe, expect, it } from '@jest/globals';
import { type Fault, FaultVolume, MemoryVolume, type VolumeOperation } from './index.js';

function faulty(script: (operation: VolumeOperation) => Fault | undefined): { below: MemoryVolume; volume: FaultVolume } {
  const below = new MemoryVolume({ sizeBytes: 8192 });
  return { below, volume: new FaultVolume(below, script) };
}

describe('FaultVolume', () => {
  it('fails only the operation that the script names', async () => {
    const { volume } = faulty(({ kind, offset }) => (kind === 'write' && offset === 512 ? { error: 'VOLUME_FULL' } : undefined));
    await volume.write(0, new Uint8Array(512));
    await expect(volume.write(512, new Uint8Array(512))).rejects.toMatchObject({ code: 'VOLUME_FULL', isRetryable: true });
  });

  it('tears a failing write where the script says', async () => {
    const { below, volume } = faulty(({ kind }) => (kind === 'write' ? { error: 'VOLUME_IO', writtenBytes: 3 } : undefined));
    await expect(volume.write(0, new Uint8Array(5).fill(7))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect([...below.bytes.subarray(0, 6)]).toEqual([7, 7, 7, 0, 0, 0]);
  });

  it('a failing write reaches nothing below by default, nor do failing zeroes', async () => {
    const { below, volume } = faulty(() => ({ error: 'VOLUME_IO' }));
    below.bytes.fill(9);
    await expect(volume.write(0, new Uint8Array(5))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.writeZeroes(0, 5)).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect(below.bytes.every((byte) => byte === 9)).toBe(true);
  });

  it('holds an operation back until the script lets it go', async () => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => { release = resolve; });
    const { below, volume } = faulty(({ kind }) => (kind === 'write' ? { until: gate } : undefined));
    const write = volume.write(0, new Uint8Array([1]));
    await Promise.resolve();
    expect(below.bytes[0]).toBe(0);
    release();
    await write;
    expect(below.bytes[0]).toBe(1);
  });

  it('fails flush, allocation, read and close too', async () => {
    const { volume } = faulty(() => ({ error: 'VOLUME_IO' }));
    await expect(volume.flush()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.allocation(0, 1)).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.close()).rejects.toMatchObject({ code: 'VOLUME_IO' });
  });
});
