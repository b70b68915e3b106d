import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { FrameCodec, RecordType } from '@tidemark/frame';
import { bytesOfPage } from './index-page.js';
import { decodeFooter, decodeSections, decodeUpperFences, encodeFooter, encodeSections, FencePageWriter, RunFences, sealPage, sectionOf, SegmentWrites } from './index.js';
import { JournalRecordKind } from './layout.js';
import { crc32cTable as crc32c } from '@tidemark/base/testing';

const SALT = Uint8Array.of(0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function parts(): Record<'page' | 'fencePage' | 'upperFences' | 'sections' | 'footer', Uint8Array> {
  const writes = new SegmentWrites(3);
  const payload = Uint8Array.of(1, 2, 3, 4);
  const records = [
    { type: RecordType.write, volume: 1, offset: 0x1_2345_6000, length: 4, payload },
    { type: RecordType.syncEnd, volume: 0, offset: 0, length: 0, payload: Uint8Array.of(9) },
    { type: RecordType.zeroes, volume: 1, offset: 4096, length: 65_536, payload: undefined },
  ];
  writes.addFrame({ segment: 3, at: 1152 }, { firstSeq: 2 ** 33, codec: FrameCodec.none }, { records }, { crc32c, isWanted: () => true });
  writes.addFrame({ segment: 3, at: 4096 }, { firstSeq: 2 ** 33 + 3, codec: FrameCodec.zstd }, { records: [{ ...records[0], offset: 0 } as (typeof records)[0]] }, { crc32c, isWanted: () => true });
  const clocks = { clockMs: 60_000, atMs: 1_763_800_000_000 };
  writes.note({ header: { kind: JournalRecordKind.state, incarnation: 2, firstSeq: 0, lastSeq: 2 ** 33 - 1, ...clocks }, body: Uint8Array.of(0x7b, 0x7d), marks: [] }, 77);
  writes.note({ header: { kind: JournalRecordKind.frame, incarnation: 2, firstSeq: 2 ** 33, lastSeq: 2 ** 33 + 2, ...clocks }, body: new Uint8Array(0), marks: [{ seq: 2 ** 33 + 1, type: RecordType.syncEnd, payload: Uint8Array.of(9) }] }, 2 ** 33 - 1);
  const [run] = writes.runs();
  const page = run?.pages[0]?.slice() ?? new Uint32Array(1024);
  sealPage(page, { salt: SALT, number: 0, crc32c });
  const span = { segment: 3, generation: 1, firstRecordNo: 10, chainStart: 0xdeadbeef, endAt: 8192, recordNo: 12, chain: 0x01020304, lastSeq: 2 ** 33 + 3, clockMs: 60_000 };
  const sections = encodeSections([sectionOf(span, writes)]);
  const writer = new FencePageWriter();
  writer.add(page);
  const fencePage = writer.pages[0] ?? new Uint32Array(1024);
  sealPage(fencePage, { salt: SALT, number: 1, crc32c, kind: 'fences' });
  const fences = new RunFences();
  fences.addFencePage(fencePage);
  const upperFences = fences.encode();
  const footer = encodeFooter({
    firstSegment: 3, lastSegment: 3, segmentCount: 1, salt: SALT, pageCount: 1, fencePageCount: 1, upperFencesCrc: crc32c(upperFences), sectionsBytes: sections.byteLength, sectionsCrc: crc32c(sections), entryCount: 3,
  }, crc32c);
  return { page: bytesOfPage(page), fencePage: bytesOfPage(fencePage), upperFences, sections, footer };
}

/** A change of these bytes is a change of the format. */
const golden = JSON.parse(readFileSync(new URL('../testdata/journal-index-v1.json', import.meta.url), 'utf8')) as Record<string, string>;

describe('bytes of an index file, version 1', () => {
  it.each(Object.keys(golden))('%s', (name) => {
    expect(hex(parts()[name as 'page'])).toBe(golden[name]);
  });

  it('footer, upper fences and sections read back, and not with one bit changed', () => {
    const { page, fencePage, upperFences, sections, footer } = parts();
    const fileBytes = page.byteLength + fencePage.byteLength + upperFences.byteLength + sections.byteLength + footer.byteLength;
    const read = decodeFooter(footer, fileBytes, crc32c);
    expect(read && decodeSections(sections, read, crc32c)?.map(({ segment, endAt, writes, digest }) => [segment, endAt, writes, digest.byteLength % 8])).toEqual([[3, 8192, 3, 0]]);
    expect(decodeFooter(footer, fileBytes + 1, crc32c)).toBeUndefined();
    for (let at = 0; at < footer.byteLength; at += 1) {
      const changed = footer.slice();
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(decodeFooter(changed, fileBytes, crc32c)).toBeUndefined();
    }
    expect(read && decodeUpperFences(upperFences, read, crc32c)?.memoryBytes).toBe(46);
    for (let at = 0; at < upperFences.byteLength; at += 1) {
      const changed = upperFences.slice();
      changed[at] = (changed[at] ?? 0) ^ 4;
      expect(read && decodeUpperFences(changed, read, crc32c)).toBeUndefined();
    }
    const changed = sections.slice();
    changed[70] = (changed[70] ?? 0) ^ 4;
    expect(read && decodeSections(changed, read, crc32c)).toBeUndefined();
  });
});
