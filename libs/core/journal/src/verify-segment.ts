import type { Crc32c } from '@tidemark/base';
import { decodeSegmentHeader } from './codec.js';
import { JournalScanner } from './scanner.js';

export interface SegmentCheck {
  readonly isWhole: boolean;
  /** What is wrong and where; empty when nothing is. */
  readonly detail: string;
  /** Stream position up to which the segment reads; meaningless when not even its header does. */
  readonly lastSeq: number;
}

/** Header, chain and body checksums of the records in `bytes`, the durable part of a segment file. Bodies are not decompressed. */
export function verifySegment(segment: number, bytes: Uint8Array, crc32c: Crc32c): SegmentCheck {
  const header = decodeSegmentHeader(bytes, crc32c);
  if (header === undefined) return { isWhole: false, detail: `segment ${segment}: its header does not read`, lastSeq: 0 };
  const scanner = new JournalScanner({ crc32c, take: () => true, beginSegment: () => undefined });
  scanner.segment({ segment, fileBytes: bytes.byteLength, header }, bytes);
  const { position } = scanner;
  const isWhole = position === undefined;
  const detail = isWhole ? '' : `segment ${segment}: record ${(scanner.recordNo ?? 0) + 1} at byte ${position} does not read or does not follow`;
  return { isWhole, detail, lastSeq: scanner.lastSeq };
}
