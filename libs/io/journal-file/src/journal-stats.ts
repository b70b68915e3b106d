import type { Journal } from '@tidemark/journal';
import type { Compactor } from './compactor.js';
import type { JournalIndex } from './journal-index.js';
import type { JournalFileStats } from './types.js';

export function statsOf(journal: Journal, index: JournalIndex, { freedBytes }: Compactor): JournalFileStats {
  const { durable, segments, journalBytes } = journal;
  const { epoch, reservedEpoch, isEnded, incarnation, isBaseComplete, sync, lastSeq, appliedSeq, promotion } = durable;
  return {
    state: journal.state,
    durableSeq: lastSeq,
    appliedSeq,
    retainedWrites: segments.reduce((sum, { writes }) => sum + writes, 0),
    indexMemoryBytes: index.memoryBytes,
    unindexedSegments: Math.max(0, journal.unindexed.length - 1),
    indexFiles: index.runs,
    damagedIndexFiles: index.damagedCount,
    segmentCount: segments.length,
    journalBytes,
    compactedBytes: freedBytes,
    epoch,
    reservedEpoch,
    isEnded,
    incarnation,
    isBaseComplete,
    isSyncing: sync !== 'idle',
    promotion,
  };
}
