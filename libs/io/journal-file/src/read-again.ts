import { JournalError, JournalRecovery, type SegmentSummary, type SegmentWrites } from '@tidemark/journal';
import { crc32c as defaultCrc32c, decompressBody } from './defaults.js';
import { nodeFiles } from './node-files.js';
import { SCAN_STEP_BYTES } from './scratch-journal.js';
import type { SegmentFiles } from './segment-files.js';
import type { JournalFileOptions } from './types.js';

/**
 * What the index of these sealed segments, neighbours, has to say, out of their records: the first one's `state` is where the reading begins.
 * Throws JOURNAL_CORRUPT when they are not the records any more that are known to be durable.
 */
export async function readAgain(options: JournalFileOptions, segments: SegmentFiles, spans: readonly SegmentSummary[]): Promise<readonly SegmentWrites[]> {
  const { crc32c = defaultCrc32c, decompress = decompressBody, files = nodeFiles, identity, epoch } = options;
  const found = (await segments.find(crc32c)).filter(({ segment }) => spans.some((span) => span.segment === segment));
  const recovery = new JournalRecovery({ identity, epoch, crc32c, decompress }, found);
  for (const span of spans) {
    const file = found.find(({ segment }) => segment === span.segment);
    if (file === undefined) throw damaged(span);
    recovery.begin(file, await segments.read(span.segment, span.bytes));
    while (!recovery.step(SCAN_STEP_BYTES)) await files.giveWay();
    const read = recovery.state.segments.at(-1);
    // The chain value follows from every record.
    if (read?.segment !== span.segment || read.endAt !== span.endAt || read.recordNo !== span.recordNo || read.chain !== span.chain) throw damaged(span);
  }
  return recovery.state.writes;
}

const damaged = ({ segment }: SegmentSummary): JournalError => new JournalError('JOURNAL_CORRUPT', `segment ${segment} does not read back as it was written`);
