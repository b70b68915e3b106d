import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FrameCodec } from '@tidemark/frame';
import { decodeJournalRecord, decodeSegmentHeader, isFrameKind, JOURNAL_RECORD_HEADER_BYTES, recordBytes, SEGMENT_HEADER_BYTES } from '@tidemark/journal';
import { crc32c } from './defaults.js';
import { FileBench, frameOf, readAll, write } from './testing/fixture.js';

const BLOCK = 4096;
let bench: FileBench;

beforeEach(async () => {
  bench = await FileBench.make({ volumeBytes: [16 * BLOCK] });
  await bench.base();
});
afterEach(async () => {
  await bench.remove();
});

const blockOf = (fill: number): Uint8Array => new Uint8Array(BLOCK).fill(fill);

async function sendCompressed(offset: number, fill: number): Promise<void> {
  const records = [write(offset, blockOf(fill))];
  const { header, body } = frameOf(records, { firstSeq: bench.lastSeq + 1, incarnation: bench.incarnation, epoch: 1 });
  const packed = zstdCompressSync(body);
  bench.journal.append({ ...header, codec: FrameCodec.zstd, bodyBytes: packed.byteLength, bodyCrc: crc32c(packed) }, packed, records);
  bench.lastSeq = header.lastSeq;
  await bench.durable(bench.lastSeq);
}

/** The disk puts the frame with `firstSeq` of `newer` in the place of the one with that of `older`, whole, with all its checksums. */
async function misplace(newer: number, older: number): Promise<void> {
  const path = join(bench.folder, 'journal', '0000000001.segment');
  const bytes = await readFile(path);
  const salt = decodeSegmentHeader(bytes.subarray(0, SEGMENT_HEADER_BYTES), crc32c)?.salt ?? new Uint8Array();
  const places = new Map<number, Uint8Array>();
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength;) {
    const header = decodeJournalRecord(bytes.subarray(at, at + JOURNAL_RECORD_HEADER_BYTES), salt, crc32c);
    if (header === undefined) break;
    const record = bytes.subarray(at, at + recordBytes(header.bodyBytes));
    if (isFrameKind(header.kind)) places.set(header.firstSeq, record);
    at += record.byteLength;
  }
  const [from, to] = [places.get(newer), places.get(older)];
  if (from === undefined || to?.byteLength !== from.byteLength) throw new Error('two frames of one length');
  const file = await open(path, 'r+');
  await file.write(from, 0, from.byteLength, to.byteOffset - bytes.byteOffset);
  await file.close();
}

describe('a frame that the disk has put in the place of another one', () => {
  it('is an error to a view, and never its bytes', async () => {
    await sendCompressed(0, 1);
    const older = bench.lastSeq;
    await sendCompressed(BLOCK, 2);
    const checkpointId = await bench.checkpoint();
    await misplace(older + 1, older);
    const view = await bench.journal.openView({ checkpointId });
    const [volume] = view.volumes;
    await expect(volume && readAll(volume)).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await view.close();
  });

  it('is never applied in its stead: the journal is broken and says where', async () => {
    await bench.sendDurable([write(0, blockOf(1))]);
    const older = bench.lastSeq;
    await bench.sendDurable([write(BLOCK, blockOf(2))]);
    const checkpointId = await bench.checkpoint();
    await bench.journal.retire(checkpointId);
    await misplace(older + 1, older);
    await expect(bench.journal.allowApply(checkpointId)).rejects.toMatchObject({ code: 'JOURNAL_IO', message: expect.stringMatching(/segment 1 at byte \d+: record \d+ lies in the place of record \d+$/) });
    expect(bench.states).toContain('broken');
    const [mirror] = bench.mirrors;
    expect(mirror && (await readAll(mirror)).every((byte) => byte === 0)).toBe(true);
  });
});
