import type { Crc32c } from '@tidemark/base';
import { type Journal, type SegmentCheck, SegmentVerifier } from '@tidemark/journal';
import type { Compactor } from './compactor.js';
import { storageFailure } from './defaults.js';
import type { FileLayer } from './file-layer.js';
import type { JournalIndex } from './journal-index.js';
import { SCAN_STEP_BYTES } from './scratch-journal.js';
import type { SegmentFiles } from './segment-files.js';

export interface SegmentCheckerParts {
  readonly journal: Journal;
  readonly segments: SegmentFiles;
  readonly index: JournalIndex;
  readonly compactor: Compactor;
  readonly crc32c: Crc32c;
  readonly files: FileLayer;
  readonly isClosed: () => boolean;
}

/** Reads segments of an open journal back. */
export class SegmentChecker {
  constructor(private readonly parts: SegmentCheckerParts) {}

  /** Every segment that counts; the first damage, or undefined. */
  async verifyAll(): Promise<SegmentCheck | undefined> {
    const { journal, files } = this.parts;
    for (const { segment, lastSeq } of [...journal.segments]) {
      if (lastSeq <= journal.durable.appliedSeq && segment !== journal.segments.at(-1)?.segment) continue; // waits to be freed: nobody reads it
      const check = await this.verify(segment);
      if (check?.isWhole === false) return check;
      await files.giveWay();
    }
    return undefined;
  }

  /** The durable part of one segment; undefined: it is gone, or the journal is closed. */
  async verify(segment: number): Promise<SegmentCheck | undefined> {
    const { journal, segments, index, compactor, isClosed } = this.parts;
    await compactor.installed();
    const found = journal.segments.find((each) => each.segment === segment);
    if (found === undefined || isClosed()) return undefined;
    let check: SegmentCheck;
    try {
      check = await checkInSteps(segment, await segments.read(segment, found.bytes), this.parts);
    } catch (error) {
      check = { isWhole: false, detail: `segment ${segment} cannot be read: ${storageFailure(error).detail}`, lastSeq: 0 };
    }
    if (check.isWhole) return check;
    await compactor.installed();
    const now = journal.segments.find((each) => each.segment === segment);
    if (isClosed() || now === undefined) return undefined;
    // It became another file while it was read.
    if (now.chain !== found.chain && now.firstRecordNo === found.firstRecordNo && now.bytes < found.bytes) return await this.verify(segment);
    // The next opening must meet the damage too, and not an index that vouches for what was there.
    await index.distrust();
    return check;
  }
}

/** Checks the durable bytes of a segment, giving way in between: 64 MiB at once would hold up every stream of the process for the time of their checksum. */
export async function checkInSteps(segment: number, bytes: Uint8Array, { crc32c, files }: { readonly crc32c: Crc32c; readonly files: FileLayer }): Promise<SegmentCheck> {
  const verifier = new SegmentVerifier(segment, bytes, crc32c);
  for (;;) {
    const check = verifier.step(SCAN_STEP_BYTES);
    if (check !== undefined) return check;
    await files.giveWay();
  }
}
