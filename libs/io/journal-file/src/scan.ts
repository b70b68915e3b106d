import { ProtocolError } from '@tidemark/base';
import { JournalRecovery, type RecoveredJournal } from '@tidemark/journal';
import { crc32c as defaultCrc32c, decompressBody } from './defaults.js';
import type { JournalIndex } from './journal-index.js';
import { nodeFiles } from './node-files.js';
import { readAgain } from './read-again.js';
import { SCAN_STEP_BYTES } from './scratch-journal.js';
import type { SegmentFiles } from './segment-files.js';
import type { JournalFileOptions } from './types.js';

/**
 * What the journal's files add up to. Of a sealed segment its index is read; the open one, and any without an index that belongs to it, is scanned, in steps that
 * give way. The index of a sealed segment that had to be scanned is written at once, so that memory holds one segment's.
 */
export async function scan(options: JournalFileOptions, { segments, index, salt }: { readonly segments: SegmentFiles; readonly index: JournalIndex; readonly salt: Uint8Array }): Promise<RecoveredJournal> {
  try {
    return await scanOnce(options, { segments, index, salt });
  } catch (error) {
    if (!(error instanceof IndexDisbelieved) && !(error instanceof ProtocolError)) throw error;
    await index.forgetAll();
    return await scanOnce(options, { segments, index, salt });
  } finally {
    index.forgetSections();
  }
}

/** An index file whose checksums hold and whose ends fit, and which does not agree with what was read all the same. */
class IndexDisbelieved extends Error {}

async function scanOnce(options: JournalFileOptions, { segments, index, salt }: { readonly segments: SegmentFiles; readonly index: JournalIndex; readonly salt: Uint8Array }): Promise<RecoveredJournal> {
  const { crc32c = defaultCrc32c, files = nodeFiles } = options;
  const found = await segments.find(crc32c);
  const { identity, epoch } = options;
  const recovery = new JournalRecovery({ identity, epoch, crc32c, decompress: options.decompress ?? decompressBody }, found);
  const { state, plan } = recovery;
  index.attach({
    salt: () => recovery.salt ?? salt,
    segments: () => state.segments,
    unindexed: () => state.writes,
    segmentIndexed: (segment) => state.dropWrites(segment),
    readAgain: async (spans) => await readAgain(options, segments, spans),
    indexLost: (writes) => state.restoreWrites(writes),
  });
  await index.find(plan);
  if (options.isIndexDistrusted === true) await index.forgetAll();
  for (const [i, each] of plan.segments.entries()) {
    const indexed = index.section(each.found.segment);
    const next = plan.segments[i + 1];
    if (indexed !== undefined && next !== undefined) {
      if (!recovery.takeIndexed(each.found, next.found, indexed)) throw new IndexDisbelieved();
      index.hasSpared = true;
      await files.giveWay();
    } else {
      // What a sync that failed left in the page cache must not be built upon: a power loss takes it.
      recovery.begin(each.found, await segments.readFromDisk(each.found.segment, each.limitBytes));
      while (!recovery.step(SCAN_STEP_BYTES)) await files.giveWay();
    }
    await index.writeSealed();
  }
  for (const each of recovery.leftOut) {
    recovery.feedLeftOut(each, await segments.readFromDisk(each.found.segment, each.found.fileBytes));
    await files.giveWay();
  }
  return recovery.finish();
}
