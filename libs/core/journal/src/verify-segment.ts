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

/** Header, chain and body checksums of the records in `bytes`, the durable part of a segment file, piece by piece. Bodies are not decompressed. */
export class SegmentVerifier {
  readonly #scanner: JournalScanner;
  readonly #hasHeader: boolean;

  constructor(private readonly segment: number, bytes: Uint8Array, crc32c: Crc32c) {
    const header = decodeSegmentHeader(bytes, crc32c);
    this.#scanner = new JournalScanner({ crc32c, take: () => true, beginSegment: () => undefined });
    this.#hasHeader = header !== undefined;
    if (header !== undefined) this.#scanner.begin({ segment, fileBytes: bytes.byteLength, header }, bytes);
  }

  /** Checks on for some `bytesMax` bytes; undefined: there is more. */
  step(bytesMax: number): SegmentCheck | undefined {
    if (!this.#hasHeader) return { isWhole: false, detail: `segment ${this.segment}: its header does not read`, lastSeq: 0 };
    return this.#scanner.step(bytesMax) ? checkOf(this.segment, this.#scanner) : undefined;
  }
}

function checkOf(segment: number, scanner: JournalScanner): SegmentCheck {
  const { position } = scanner;
  const isWhole = position === undefined;
  const detail = isWhole ? '' : `segment ${segment}: record ${(scanner.recordNo ?? 0) + 1} at byte ${position} does not read or does not follow`;
  return { isWhole, detail, lastSeq: scanner.lastSeq };
}
