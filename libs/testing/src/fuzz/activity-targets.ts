import { crc32c } from '@tidemark/link';
import { ACTIVITY_EXTENT_BYTES, ActivityLog, SECTOR_BYTES, SECTOR_EXTENTS } from '@tidemark/replication';
import type { Random } from '../sim/random.js';
import { mutated } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

/** One volume of two sectors, and one that ends inside an extent. */
const OPTIONS = { volumeSizesBytes: [(SECTOR_EXTENTS + 5) * ACTIVITY_EXTENT_BYTES, 3 * ACTIVITY_EXTENT_BYTES + 512], logId: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]), crc32c };

function sample(random: Random): ActivityLog {
  const log = new ActivityLog(OPTIONS);
  for (let left = random.int(20); left > 0; left -= 1) {
    const volume = random.int(2);
    const extent = random.int(volume === 0 ? SECTOR_EXTENTS + 5 : 3);
    log.touch(volume, extent * ACTIVITY_EXTENT_BYTES, 1 + random.int(3) * 512);
  }
  return log;
}

/** Sectors that were changed by somebody who can make checksums. */
function withChecksums(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + SECTOR_BYTES <= bytes.length; at += SECTOR_BYTES) view.setUint32(at, crc32c(bytes.subarray(at + 4, at + SECTOR_BYTES)), true);
  return bytes;
}

/** The marks on disk, damaged: they are what was written or nothing is known. With right checksums they may be others, but of these volumes. */
const marks: FuzzTarget = {
  name: 'activity-log',
  gateCount: 1500,
  run(random) {
    const log = sample(random);
    const changed = mutated(log.encodeAll(), random);
    const restored = ActivityLog.restore(OPTIONS, changed);
    if (restored !== undefined && JSON.stringify([...restored.marked()]) !== JSON.stringify([...log.marked()])) throw new FuzzViolation('damaged marks were taken for others');
    const forged = ActivityLog.restore(OPTIONS, withChecksums(changed.slice()));
    for (const { volume, start, end } of forged?.marked() ?? []) {
      if (start < 0 || end <= start || end > (OPTIONS.volumeSizesBytes[volume] ?? 0)) throw new FuzzViolation('a mark outside its volume');
    }
  },
};

export const ACTIVITY_TARGETS: readonly FuzzTarget[] = [marks];
