import { crc32cTable } from '@tidemark/base/testing';
import { FrameCodec } from '@tidemark/frame';
import { assert } from '@tidemark/base';
import { decodeSegmentHeader } from '../codec.js';
import { type CompactionNote, planCompaction } from '../compaction-plan.js';
import { JournalRecovery } from '../recovery.js';
import { SegmentCompaction } from '../segment-compaction.js';
import { type KeptImages, VersionSweep } from '../version-sweep.js';
import { IDENTITY, type JournalBench } from './journal-bench.js';

/** Of frames that pass for compressed: the bodies are what they are. */
export const PARTS = { crc32c: crc32cTable, decompress: (_: FrameCodec, body: Uint8Array) => body, compress: (_: FrameCodec, raw: Uint8Array) => raw } as const;

/** What a compaction of files does, on a simulated disk and at once. Bytes freed; every result is put in place, however little it frees. */
export function compactBench(
  bench: JournalBench,
  options: { readonly notes?: Map<number, CompactionNote>; readonly isCandidate?: () => boolean; readonly imagesOf?: (images: KeptImages) => KeptImages; readonly beforeSeq?: number } = {},
): number {
  const { journal, disk, recovered } = bench;
  const notes = options.notes ?? new Map<number, CompactionNote>();
  const images = (options.imagesOf ?? ((known) => known))(journal.swap.images);
  const plan = planCompaction({
    segments: journal.segments, appliedSeq: journal.durable.appliedSeq, beforeSeq: options.beforeSeq ?? Infinity, markerSeqs: images.markerSeqs, notes, isIndexed: () => true,
  });
  const sweep = new VersionSweep(images);
  let freedBytes = 0;
  for (const { summary, isCandidate, isApart, note } of plan) {
    if (isApart) sweep.forget();
    const bytes = disk.read(summary.segment, summary.bytes);
    const header = decodeSegmentHeader(bytes, crc32cTable);
    assert(header !== undefined, 'a whole segment');
    const compaction = new SegmentCompaction({ summary, header, bytes, droppedIds: journal.swap.droppedBy(summary, images) }, PARTS);
    while (!compaction.sweep(sweep));
    if (!isCandidate || options.isCandidate?.() === false || !journal.swap.hold()) continue;
    notes.set(summary.segment, note);
    const chunks: Uint8Array[] = [];
    for (let next = compaction.write(); next !== undefined; next = compaction.write()) chunks.push(...next);
    const { header: newHeader, endAt } = compaction.finish();
    const file = disk.files.get(summary.segment);
    assert(file !== undefined, 'the file is there');
    const result = new Uint8Array(Buffer.concat([newHeader, ...chunks]));
    assert(result.byteLength === endAt, 'the header says where the file ends');
    if (endAt > summary.bytes || compaction.isTooLong) {
      journal.swap.release([], []);
      continue;
    }
    disk.files.set(summary.segment, { bytes: result, syncedBytes: endAt });
    const found = disk.found().filter(({ segment }) => segment === summary.segment);
    const recovery = new JournalRecovery({ identity: IDENTITY, epoch: 1, crc32c: crc32cTable, decompress: PARTS.decompress }, found);
    for (const each of found) recovery.feed(each, result);
    const [after] = recovery.state.segments;
    const own = decodeSegmentHeader(newHeader, crc32cTable)?.compacted;
    assert(after !== undefined && after.endAt === endAt && after.recordNo === own?.recordNo && after.chain === own.chain, 'the result reads back');
    recovered.state.dropWrites(summary.segment);
    recovered.state.restoreWrites(recovery.state.writes);
    bench.act((effects) => journal.swap.release([after], effects));
    freedBytes += summary.bytes - endAt;
  }
  return freedBytes;
}
