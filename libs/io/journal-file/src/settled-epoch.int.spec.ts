import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { decodeJournalRecord, decodeSegmentHeader, JOURNAL_RECORD_HEADER_BYTES, JournalRecordKind, recordBytes, SEGMENT_HEADER_BYTES } from '@tidemark/journal';
import { crc32c } from './defaults.js';
import { FileBench } from './testing/fixture.js';

const EPOCH = 2;
let bench: FileBench;

beforeEach(async () => {
  bench = await FileBench.make();
  await bench.base();
});
afterEach(async () => {
  await bench.remove();
});

/** A bit turns in the body of the first record of this kind. */
async function damage(kind: JournalRecordKind): Promise<void> {
  const path = join(bench.folder, 'journal', '0000000001.segment');
  const bytes = await readFile(path);
  const salt = decodeSegmentHeader(bytes.subarray(0, SEGMENT_HEADER_BYTES), crc32c)?.salt ?? new Uint8Array();
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength;) {
    const header = decodeJournalRecord(bytes.subarray(at, at + JOURNAL_RECORD_HEADER_BYTES), salt, crc32c);
    if (header === undefined) break;
    if (header.kind === kind) {
      bytes[at + JOURNAL_RECORD_HEADER_BYTES] = (bytes[at + JOURNAL_RECORD_HEADER_BYTES] ?? 0) ^ 4;
      return await writeFile(path, bytes);
    }
    at += recordBytes(header.bodyBytes);
  }
  throw new Error('no such record');
}

it.each([
  ['burn', 'burnEpoch', JournalRecordKind.epochBurn, { epoch: 1, isEnded: false }, 'JOURNAL_EPOCH'],
  ['commit', 'commitEpoch', JournalRecordKind.epochCommit, { epoch: EPOCH, isEnded: true }, 'JOURNAL_ENDED'],
] as const)('keeps a %s when a bit turns in the record that says it', async (_, step, kind, expected, code) => {
  await bench.journal.reserveEpoch(EPOCH);
  await bench.journal[step](EPOCH);
  await bench.journal.close();
  await damage(kind);
  await bench.open();
  expect(bench.journal.stats()).toMatchObject({ reservedEpoch: null, ...expected });
  await expect(bench.journal.reserveEpoch(EPOCH)).rejects.toMatchObject({ code });
});
