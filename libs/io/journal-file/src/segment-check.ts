import type { Crc32c } from '@tidemark/base';
import { type SegmentCheck, SegmentVerifier } from '@tidemark/journal';
import type { FileLayer } from './file-layer.js';
import { SCAN_STEP_BYTES } from './scratch-journal.js';

/** Checks the durable bytes of a segment, giving way in between: 64 MiB at once would hold up every stream of the process for the time of their checksum. */
export async function checkInSteps(segment: number, bytes: Uint8Array, { crc32c, files }: { readonly crc32c: Crc32c; readonly files: FileLayer }): Promise<SegmentCheck> {
  const verifier = new SegmentVerifier(segment, bytes, crc32c);
  for (;;) {
    const check = verifier.step(SCAN_STEP_BYTES);
    if (check !== undefined) return check;
    await files.giveWay();
  }
}
