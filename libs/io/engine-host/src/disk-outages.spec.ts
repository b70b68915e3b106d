import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Outage } from '@tidemark/nbd-client';
import { DiskOutages } from './disk-outages.js';
import type { ProtectedVolume } from './protected-volume.js';

const disk = { diskId: 'd', exportName: 'vm-d', path: 'nbd://nas/d', sizeBytes: 1 };
const place = { vmId: 'vm', disk };
const VM = { vmId: 'vm', disks: [disk] };

describe('disks that are away', () => {
  let nowMs: number;
  let wallMs: number;
  let outages: DiskOutages;
  let volume: { outage: Outage | undefined };
  const open = async (): Promise<ProtectedVolume> => await Promise.resolve(volume as unknown as ProtectedVolume);
  const refuse = async (): Promise<ProtectedVolume> => await Promise.reject(new Error('ECONNREFUSED'));
  const pass = (ms: number): void => void ([nowMs, wallMs] = [nowMs + ms, wallMs + ms]);

  beforeEach(() => {
    [nowMs, wallMs, volume] = [1000, 1_700_000_000_000, { outage: undefined }];
    outages = new DiskOutages({ nowMs: () => nowMs, wallClockMs: () => wallMs });
    outages.keepOnly([VM]);
  });

  it('are told of after some seconds, with the time of the first attempt however often it is tried, until one is opened', async () => {
    await expect(outages.opening(place, refuse)).rejects.toThrow('ECONNREFUSED');
    pass(4999);
    await expect(outages.opening(place, refuse)).rejects.toThrow('ECONNREFUSED');
    expect(outages.list()).toEqual([]);
    pass(1);
    const told = [{ vmId: 'vm', diskId: 'd', path: 'nbd://nas/d', sinceMs: 1_700_000_000_000, reason: 'ECONNREFUSED' }];
    expect(outages.list()).toEqual(told);
    // The wall clock is set; the text of an alert must not change each second.
    wallMs += 3_600_000;
    expect(outages.list()).toEqual(told);
    await outages.opening(place, open);
    expect(outages.list()).toEqual([]);
  });

  it('are told of while the opening hangs', async () => {
    let end = (): void => undefined;
    const opened = outages.opening(place, () => new Promise<ProtectedVolume>((resolve) => (end = () => resolve(volume as unknown as ProtectedVolume))));
    pass(5000);
    expect(outages.list()).toMatchObject([{ reason: 'it has not answered yet' }]);
    end();
    await opened;
    expect(outages.list()).toEqual([]);
  });

  it('are told of when the volume loses its server, not when a request takes a moment', async () => {
    await outages.opening(place, open);
    pass(60_000);
    volume.outage = { sinceMs: nowMs - 4000, reason: 'slow' };
    expect(outages.list()).toEqual([]);
    volume.outage = { sinceMs: nowMs - 6000, reason: 'x'.repeat(5000) };
    expect(outages.list()).toMatchObject([{ sinceMs: wallMs - 6000, reason: 'x'.repeat(500) }]);
  });

  it('are forgotten with their VM, or when it has another disk there, also while they are being opened', async () => {
    const opened = outages.opening(place, refuse);
    outages.keepOnly([{ ...VM, disks: [{ ...disk, path: 'nbd://nas/other' }] }]);
    await expect(opened).rejects.toThrow();
    await expect(outages.opening(place, refuse)).rejects.toThrow();
    pass(6000);
    expect(outages.list()).toEqual([]);
  });
});
