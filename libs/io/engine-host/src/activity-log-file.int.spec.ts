import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ActivityLogFile, type ActivityPlace } from './activity-log-file.js';
import type { ProtectionSpec } from './types.js';
import { slotsToBe, VolumeMap } from './volume-map.js';

const SPEC: ProtectionSpec = {
  vpgId: 'vpg', vmId: 'vm', epoch: 1, diskIds: ['scsi:0:0'], recoveringVra: { vraId: 'r', address: '127.0.0.1', controlPort: 4007, dataPort: 4008 }, recoverySiteId: 'b', isCompressed: false, priority: 'low',
};
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
let folder: string;
let place: ActivityPlace;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-activity-'));
  const disk = { diskId: 'scsi:0:0', exportName: 'x', path: join(folder, 'disk'), sizeBytes: 4096 };
  await writeFile(disk.path, Buffer.alloc(4096));
  place = { folder: join(folder, 'activity'), spec: SPEC, vm: { vmId: 'vm', disks: [disk] }, map: new VolumeMap(SPEC, slotsToBe([disk])), log };
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

const documents = async (): Promise<readonly string[]> => (await readdir(place.folder)).filter((name) => name.endsWith('.json'));
const trustedLater = async (): Promise<string | undefined> => {
  const next = await ActivityLogFile.open(place, { mayTrust: true });
  await next.close();
  return next.trustedSessionId;
};

describe('the word that an activity log can be trusted', () => {
  it('is gone for good when it is taken back while it is still being written, however late that write ends', async () => {
    const file = await ActivityLogFile.open(place, { mayTrust: false });
    for (let round = 0; round < 5; round += 1) {
      const given = file.trust('session');
      // The marks come first; from here on the document is on its way.
      while (!file.mayBeTrusted) await new Promise(setImmediate);
      expect(file.isTrusted).toBe(false);
      await file.distrust();
      expect([await documents(), file.mayBeTrusted]).toEqual([[], false]);
      await given;
      expect([await documents(), file.isTrusted, file.mayBeTrusted]).toEqual([[], false, false]);
    }
    await file.close();
    expect(await trustedLater()).toBeUndefined();
  });

  it('stands when it is given again behind that', async () => {
    const file = await ActivityLogFile.open(place, { mayTrust: false });
    await Promise.all([file.trust('first'), file.distrust(), file.trust('second')]);
    expect([file.trustedSessionId, file.mayBeTrusted]).toEqual(['second', true]);
    await file.close();
    expect(await trustedLater()).toBe('second');
  });
});

describe('an activity log that was removed', () => {
  it('passes over what is captured until another one takes its place: a volume may have been added meanwhile, which it does not have', async () => {
    const file = await ActivityLogFile.open(place, { mayTrust: false });
    const removed = file.remove();
    expect(() => file.captured(1, 0, 512)).not.toThrow();
    await removed;
    expect(() => file.captured(1, 0, 512)).not.toThrow();
  });
});
