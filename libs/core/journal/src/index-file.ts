import { alignUp, assert, type Crc32c, getU64, isSafeU64, setU64, viewOf } from '@tidemark/base';
import type { SegmentHeader } from './codec.js';
import { PAGE_BYTES } from './index-page.js';
import { otherVersion } from './journal-error.js';
import { FENCE_BYTES } from './fence-page.js';
import { RunFences } from './run-fences.js';
import type { SegmentSpan, SegmentWrites } from './segment-writes.js';

/** Last bytes of an index file. docs/spec/journal-index.md; little-endian. */
export const FOOTER_AT = {
  footerCrc: 0, // u32, CRC-32C of bytes 4..127
  magic: 4, // u32
  version: 8, // u16
  reserved1: 10, // u16
  firstSegment: 12, // u32
  lastSegment: 16, // u32
  segmentCount: 20, // u32
  salt: 24, // 8 bytes, that of the journal
  pageCount: 32, // u32
  upperFencesCrc: 36, // u32
  sectionsBytes: 40, // u64
  sectionsCrc: 48, // u32
  fencePageCount: 52, // u32
  entryCount: 56, // u64
  reserved3: 64, // 64 zero bytes
} as const;
export const FOOTER_BYTES = 128;
export const INDEX_MAGIC = 0x494a4454; // 'TDJI'
export const INDEX_VERSION = 1;

/** One segment in an index file; its digest follows. */
export const SECTION_AT = {
  segment: 0, // u32
  generation: 4, // u32
  firstRecordNo: 8, // u64
  recordNo: 16, // u64, last one
  endAt: 24, // u64
  lastSeq: 32, // u64
  clockMs: 40, // u64
  chainStart: 48, // u32
  chain: 52, // u32, of the last record
  writes: 56, // u32
  digestBytes: 60, // u32
} as const;
export const SECTION_BYTES = 64;

/** What an index file says of one segment. */
export interface SegmentSection extends SegmentSpan {
  readonly writes: number;
  readonly digest: Uint8Array;
}

export interface IndexFooter {
  readonly firstSegment: number;
  readonly lastSegment: number;
  readonly segmentCount: number;
  readonly salt: Uint8Array;
  readonly pageCount: number;
  readonly fencePageCount: number;
  readonly upperFencesCrc: number;
  readonly sectionsBytes: number;
  readonly sectionsCrc: number;
  readonly entryCount: number;
}

export const sectionOf = (span: SegmentSpan, writes: SegmentWrites): SegmentSection => ({ ...span, writes: writes.writeCount, digest: joined(writes.digest) });

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

export function encodeSections(sections: readonly SegmentSection[]): Uint8Array {
  return joined(sections.flatMap((section) => [encodeSection(section), section.digest]));
}

function encodeSection(section: SegmentSection): Uint8Array {
  assert(section.digest.byteLength === alignUp(section.digest.byteLength, 8), 'items of a digest are aligned');
  const bytes = new Uint8Array(SECTION_BYTES);
  const view = viewOf(bytes);
  view.setUint32(SECTION_AT.segment, section.segment, true);
  view.setUint32(SECTION_AT.generation, section.generation, true);
  setU64(view, SECTION_AT.firstRecordNo, section.firstRecordNo);
  setU64(view, SECTION_AT.recordNo, section.recordNo);
  setU64(view, SECTION_AT.endAt, section.endAt);
  setU64(view, SECTION_AT.lastSeq, section.lastSeq);
  setU64(view, SECTION_AT.clockMs, section.clockMs);
  view.setUint32(SECTION_AT.chainStart, section.chainStart, true);
  view.setUint32(SECTION_AT.chain, section.chain, true);
  view.setUint32(SECTION_AT.writes, section.writes, true);
  view.setUint32(SECTION_AT.digestBytes, section.digest.byteLength, true);
  return bytes;
}

/** The sections of an index file, in order; `undefined` for bytes that are not those of this footer. */
export function decodeSections(bytes: Uint8Array, footer: IndexFooter, crc32c: Crc32c): SegmentSection[] | undefined {
  if (bytes.byteLength !== footer.sectionsBytes || crc32c(bytes) !== footer.sectionsCrc) return undefined;
  const sections: SegmentSection[] = [];
  const view = viewOf(bytes);
  let at = 0;
  while (at < bytes.byteLength) {
    if (at + SECTION_BYTES > bytes.byteLength) return undefined;
    const from = at;
    const digestBytes = view.getUint32(from + SECTION_AT.digestBytes, true);
    const numbers = [SECTION_AT.firstRecordNo, SECTION_AT.recordNo, SECTION_AT.endAt, SECTION_AT.lastSeq, SECTION_AT.clockMs];
    if (!numbers.every((field) => isSafeU64(view, from + field))) return undefined;
    const digestAt = from + SECTION_BYTES;
    at = digestAt + digestBytes;
    if (at > bytes.byteLength) return undefined;
    sections.push({
      segment: view.getUint32(from + SECTION_AT.segment, true),
      generation: view.getUint32(from + SECTION_AT.generation, true),
      firstRecordNo: getU64(view, from + SECTION_AT.firstRecordNo),
      recordNo: getU64(view, from + SECTION_AT.recordNo),
      endAt: getU64(view, from + SECTION_AT.endAt),
      lastSeq: getU64(view, from + SECTION_AT.lastSeq),
      clockMs: getU64(view, from + SECTION_AT.clockMs),
      chainStart: view.getUint32(from + SECTION_AT.chainStart, true),
      chain: view.getUint32(from + SECTION_AT.chain, true),
      writes: view.getUint32(from + SECTION_AT.writes, true),
      digest: bytes.subarray(digestAt, at),
    });
  }
  const isSound = sections.length === footer.segmentCount && sections[0]?.segment === footer.firstSegment && sections.at(-1)?.segment === footer.lastSegment;
  return isSound ? sections : undefined;
}

export function encodeFooter(footer: IndexFooter, crc32c: Crc32c): Uint8Array {
  const bytes = new Uint8Array(FOOTER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(FOOTER_AT.magic, INDEX_MAGIC, true);
  view.setUint16(FOOTER_AT.version, INDEX_VERSION, true);
  view.setUint32(FOOTER_AT.firstSegment, footer.firstSegment, true);
  view.setUint32(FOOTER_AT.lastSegment, footer.lastSegment, true);
  view.setUint32(FOOTER_AT.segmentCount, footer.segmentCount, true);
  bytes.set(footer.salt, FOOTER_AT.salt);
  view.setUint32(FOOTER_AT.pageCount, footer.pageCount, true);
  view.setUint32(FOOTER_AT.fencePageCount, footer.fencePageCount, true);
  view.setUint32(FOOTER_AT.upperFencesCrc, footer.upperFencesCrc, true);
  setU64(view, FOOTER_AT.sectionsBytes, footer.sectionsBytes);
  view.setUint32(FOOTER_AT.sectionsCrc, footer.sectionsCrc, true);
  setU64(view, FOOTER_AT.entryCount, footer.entryCount);
  view.setUint32(FOOTER_AT.footerCrc, crc32c(bytes.subarray(FOOTER_AT.magic)), true);
  return bytes;
}

/** `undefined`: not the end of a whole index file of `fileBytes` bytes. Throws JOURNAL_VERSION for a whole footer of another version. */
export function decodeFooter(bytes: Uint8Array, fileBytes: number, crc32c: Crc32c): IndexFooter | undefined {
  if (bytes.byteLength !== FOOTER_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(FOOTER_AT.footerCrc, true) !== crc32c(bytes.subarray(FOOTER_AT.magic))) return undefined;
  if (view.getUint32(FOOTER_AT.magic, true) !== INDEX_MAGIC) return undefined;
  const version = view.getUint16(FOOTER_AT.version, true);
  if (version !== INDEX_VERSION) throw otherVersion('an index file', version, INDEX_VERSION);
  if (!isSafeU64(view, FOOTER_AT.sectionsBytes) || !isSafeU64(view, FOOTER_AT.entryCount)) return undefined;
  const footer = {
    firstSegment: view.getUint32(FOOTER_AT.firstSegment, true),
    lastSegment: view.getUint32(FOOTER_AT.lastSegment, true),
    segmentCount: view.getUint32(FOOTER_AT.segmentCount, true),
    salt: bytes.slice(FOOTER_AT.salt, FOOTER_AT.salt + 8),
    pageCount: view.getUint32(FOOTER_AT.pageCount, true),
    fencePageCount: view.getUint32(FOOTER_AT.fencePageCount, true),
    upperFencesCrc: view.getUint32(FOOTER_AT.upperFencesCrc, true),
    sectionsBytes: getU64(view, FOOTER_AT.sectionsBytes),
    sectionsCrc: view.getUint32(FOOTER_AT.sectionsCrc, true),
    entryCount: getU64(view, FOOTER_AT.entryCount),
  };
  return layoutOf(footer).fileBytes === fileBytes ? footer : undefined;
}

/** Pages, fence pages, upper fences, sections, footer: one behind the other. */
export function layoutOf({ pageCount, fencePageCount, sectionsBytes }: Pick<IndexFooter, 'pageCount' | 'fencePageCount' | 'sectionsBytes'>): {
  readonly upperFencesAt: number; readonly upperFencesBytes: number; readonly sectionsAt: number; readonly footerAt: number; readonly fileBytes: number;
} {
  const upperFencesAt = (pageCount + fencePageCount) * PAGE_BYTES;
  const upperFencesBytes = fencePageCount * FENCE_BYTES;
  const sectionsAt = upperFencesAt + upperFencesBytes;
  const footerAt = sectionsAt + sectionsBytes;
  return { upperFencesAt, upperFencesBytes, sectionsAt, footerAt, fileBytes: footerAt + FOOTER_BYTES };
}

/** The upper fences of an index file; `undefined` for bytes that are not those of this footer. */
export function decodeUpperFences(bytes: Uint8Array, footer: IndexFooter, crc32c: Crc32c): RunFences | undefined {
  return bytes.byteLength === layoutOf(footer).upperFencesBytes && crc32c(bytes) === footer.upperFencesCrc ? RunFences.decode(bytes) : undefined;
}

/**
 * An index is believed of a segment only if the segment's own header and the header of the next one say the same: where the records begin, end, and the
 * chain value at both ends, which follows from every byte of every record in between.
 */
export function isIndexOf(section: SegmentSpan, found: { readonly fileBytes: number; readonly header: SegmentHeader }, next: SegmentHeader): boolean {
  const { header, fileBytes } = found;
  const isBegin = section.segment === header.segment && section.generation === header.generation && section.firstRecordNo === header.firstRecordNo
    && section.chainStart === header.chainStart;
  const own = { originalEndAt: section.endAt, originalRecordNo: section.recordNo, originalChain: section.chain };
  // Of a compacted segment its header says where it ends itself, and where the one ended that the next segment continues.
  const compacted = header.compacted?.originalEndAt === next.resumesAt ? header.compacted : undefined; // else a new generation cut it short
  const isOwnEnd = compacted === undefined || (compacted.endAt === section.endAt && compacted.recordNo === section.recordNo && compacted.chain === section.chain);
  const end = compacted ?? own;
  const isEnd = next.resumesSegment === section.segment && next.resumesAt === end.originalEndAt && next.firstRecordNo === end.originalRecordNo + 1
    && next.chainStart === end.originalChain;
  return isBegin && isOwnEnd && isEnd && fileBytes >= section.endAt;
}
