import { describe, expect, it } from '@jest/globals';
import { FaultVolume, MemoryVolume, StatisticsVolume } from './index.js';

describe('StatisticsVolume', () => {
  it('counts operations, bytes and latency', async () => {
    let now = 0;
    const volume = new StatisticsVolume(new MemoryVolume({ sizeBytes: 8192 }), () => (now += 2));
    await volume.write(0, new Uint8Array(100));
    await volume.write(0, new Uint8Array(50));
    await volume.read(0, new Uint8Array(7));
    await volume.flush();
    const { write, read, flush, inFlight } = volume.statistics();
    expect(write).toEqual({ count: 2, errorCount: 0, bytes: 150, latencyMsSum: 4, latencyMsMax: 2 });
    expect([read.bytes, flush.count, inFlight]).toEqual([7, 1, 0]);
  });

  it('counts what is in flight and what failed, now or later', async () => {
    const below = new FaultVolume(new MemoryVolume({ sizeBytes: 8192 }), ({ kind }) => (kind === 'write' ? { error: 'VOLUME_IO' } : undefined));
    const volume = new StatisticsVolume(below, () => 0);
    const write = volume.write(0, new Uint8Array(1));
    expect(volume.statistics().inFlight).toBe(1);
    await expect(write).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await volume.close();
    expect(() => volume.read(0, new Uint8Array(1))).toThrow('closed');
    const { write: writes, read, inFlight } = volume.statistics();
    expect([writes.errorCount, writes.bytes, read.errorCount, inFlight]).toEqual([1, 0, 1, 0]);
  });
});
