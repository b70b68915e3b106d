import { describe, expect, it } from '@jest/globals';
import { describeReadOnlyVolume, describeVolume } from './testing/index.js';
import { FaultVolume, MemoryVolume } from './index.js';

describeVolume('MemoryVolume', (wanted) => new MemoryVolume(wanted));
describeReadOnlyVolume('MemoryVolume', (bytes) => new MemoryVolume({ sizeBytes: bytes.length, isReadOnly: true, bytes }));
describeVolume('FaultVolume without faults', (wanted) => new FaultVolume(new MemoryVolume(wanted), () => undefined));
describeVolume('FaultVolume that only delays', (wanted) => new FaultVolume(new MemoryVolume(wanted), () => ({ until: Promise.resolve() })));

describe('MemoryVolume', () => {
  it('says which blocks were ever written', () => {
    const volume = new MemoryVolume({ sizeBytes: 4 * 4096 });
    volume.write(4097, new Uint8Array(1));
    expect(volume.allocation(0, volume.sizeBytes)).toEqual([
      { length: 4096, isHole: true, isZero: true },
      { length: 4096, isHole: false, isZero: false },
      { length: 8192, isHole: true, isZero: true },
    ]);
    volume.writeZeroes(0, volume.sizeBytes, { mayUnmap: true });
    expect(volume.allocation(0, volume.sizeBytes)).toEqual([{ length: 4 * 4096, isHole: true, isZero: true }]);
  });
});
