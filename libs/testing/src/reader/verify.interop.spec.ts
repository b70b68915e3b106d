import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { FrameCodec } from '@tidemark/frame';
import { crc32c, type FileLayer, nodeFiles } from '@tidemark/journal-file';
import { FileBench, frameOf, turnBit, write, zeroes } from '@tidemark/journal-file/testing';
import { describeWithTools } from '../interop/tools.js';
import { reader, SEGMENT_HEADER_BYTES } from './python-reader.js';

const SEGMENT_BYTES = 12 * 1024;
const FIRST_BODY_AT = SEGMENT_HEADER_BYTES + 128;
const PAGE_BYTES = 4096;
const FOOTER_BYTES = 128;
const FENCES_AT = 32;
const FENCE_BYTES = 32;
const FENCE_CRC_AT = 28;
/** Of the first entry of a page. */
const FIRST_LENGTH_AT = 32 + 12;

let work = '';
let bench: FileBench;
let isSyncFailing = false;

/** Real files; a failed sync of a segment ends the journal's generation. */
const files: FileLayer = {
  ...nodeFiles,
  async open(path, mode) {
    const handle = await nodeFiles.open(path, mode);
    const dataSync = handle.dataSync.bind(handle);
    handle.dataSync = async () => {
      if (isSyncFailing && path.endsWith('.segment')) {
        isSyncFailing = false;
        throw Object.assign(new Error('EIO'), { code: 'EIO' });
      }
      await dataSync();
    };
    return handle;
  },
};

const segmentsThen = (): number => bench.journal.stats().segmentCount;

/** Writes on two volumes, some of them compressed, until there are so many more segments; then a checkpoint. */
async function grow(segments: number): Promise<number> {
  for (const target = segmentsThen() + segments; segmentsThen() < target;) {
    const at = (bench.lastSeq * 7 * 512) % (64 * 1024);
    const records = [write(at, new Uint8Array(700).fill(1 + (bench.lastSeq % 250))), zeroes(at, 64), write(at % 8192, new Uint8Array(64).fill(7), 1)];
    const { header, body } = frameOf(records, { firstSeq: bench.lastSeq + 1, incarnation: bench.incarnation, epoch: 1 });
    const packed = bench.lastSeq % 2 === 0 ? body : zstdCompressSync(body);
    bench.journal.append({ ...header, codec: packed === body ? FrameCodec.none : FrameCodec.zstd, bodyBytes: packed.byteLength, bodyCrc: crc32c(packed) }, packed, records);
    bench.lastSeq = header.lastSeq;
    await bench.durable(bench.lastSeq);
  }
  return await bench.checkpoint();
}

async function nextGeneration(): Promise<void> {
  isSyncFailing = true;
  bench.send([write(0, new Uint8Array(512).fill(9))]);
  while (bench.journal.stats().state.phase !== 'broken') await sleep(1);
  while (bench.journal.stats().state.phase === 'broken') await sleep(1);
  await bench.begin('session-2');
  await bench.durable(bench.sendBase());
}

async function indexed(): Promise<void> {
  while (bench.journal.stats().unindexedSegments > 0) await sleep(2);
}

/** Segments of three generations, the oldest ones freed, one index of eight and some of one; promoted, so with a scratch journal beside it. */
async function makeJournal(): Promise<void> {
  bench = await FileBench.make({ folder: join(work, 'sound'), volumeBytes: [96 * 1024, 24 * 1024], segmentBytes: SEGMENT_BYTES, files });
  await bench.base();
  const first = await grow(3);
  await indexed();
  await bench.journal.retire(first);
  await bench.journal.allowApply(first);
  await grow(5);
  await nextGeneration();
  await grow(4);
  await nextGeneration();
  const last = await grow(3);
  await indexed();
  const view = await bench.journal.openView({ checkpointId: last, scratchFolder: join(work, 'scratch') });
  await view.volumes[0]?.write(4096, new Uint8Array(3000).fill(5));
  await bench.journal.reserveEpoch(2);
  await bench.journal.commitEpoch(2);
  await view.promote();
  await view.close();
  await bench.journal.close();
  for (const [name, json] of [['owner.json', '{"vraId":"vra-1","moveNumber":0}'], ['pins.json', '[]']] as const) {
    await writeFile(join(journal(), name), `${json}\ncrc32c ${crc32c(Buffer.from(json)).toString(16).padStart(8, '0')}\n`);
  }
}

const journal = (): string => join(work, 'sound');

async function verify(folder: string): Promise<{ readonly code: number; readonly faults: string[]; readonly notes: string[]; readonly last: string | undefined }> {
  const { code, stdout, stderr } = await reader('verify', folder);
  expect(stderr).toBe('');
  const lines = stdout.trimEnd().split('\n');
  const last = lines.pop();
  return { code, faults: lines.filter((line) => !line.startsWith('note: ')), notes: lines.filter((line) => line.startsWith('note: ')), last };
}

/** Changes the first page of an index file, and every checksum above it to fit: of its fence, the upper fence, the footer. */
async function editPage(path: string, edit: (page: Buffer) => void): Promise<void> {
  const bytes = await readFile(path);
  const footer = bytes.subarray(-FOOTER_BYTES);
  const [pageCount, fencePageCount] = [footer.readUInt32LE(32), footer.readUInt32LE(52)];
  const [page, fencePage] = [0, pageCount].map((number) => bytes.subarray(PAGE_BYTES * number, PAGE_BYTES * (number + 1))) as [Buffer, Buffer];
  const upperFences = bytes.subarray(PAGE_BYTES * (pageCount + fencePageCount)).subarray(0, FENCE_BYTES * fencePageCount);
  edit(page);
  page.writeUInt32LE(crc32c(page.subarray(4)), 0);
  fencePage.writeUInt32LE(page.readUInt32LE(0), FENCES_AT + FENCE_CRC_AT);
  fencePage.writeUInt32LE(crc32c(fencePage.subarray(4)), 0);
  upperFences.writeUInt32LE(fencePage.readUInt32LE(0), FENCE_CRC_AT);
  footer.writeUInt32LE(crc32c(upperFences), 36);
  footer.writeUInt32LE(crc32c(footer.subarray(4)), 0);
  await writeFile(path, bytes);
}

interface Damaged {
  readonly folder: string;
  readonly segments: readonly string[];
  readonly indexes: readonly string[];
}

const numberOf = (segment: string | undefined): string => String(Number(segment?.slice(0, 10)));

/** A copy of the journal to damage; what `damage` returns is what the only faults have to look like. */
async function expectFaults(damage: (copy: Damaged) => Promise<readonly RegExp[]>): Promise<void> {
  const folder = join(work, 'copy');
  await cp(journal(), folder, { recursive: true });
  const names = (await readdir(folder)).sort();
  const expected = await damage({ folder, segments: names.filter((name) => name.endsWith('.segment')), indexes: names.filter((name) => name.endsWith('.index')) });
  const { code, faults, last } = await verify(folder);
  await rm(folder, { recursive: true });
  expect({ code, faults }).toEqual({ code: 1, faults: expected.map((each) => expect.stringMatching(each) as unknown as string) });
  expect(last).toContain(` ${String(expected.length)} faults`);
}

describeWithTools('verify of the Python reader', ['python3', 'zstd'], () => {
  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), 'tidemark-verify-'));
    await makeJournal();
  });
  afterAll(async () => {
    await rm(work, { recursive: true });
  });

  it('finds nothing in a journal of three generations that was promoted, nor in its scratch', async () => {
    const { code, faults, notes, last } = await verify(journal());
    expect({ code, faults, notes }).toEqual({ code: 0, faults: [], notes: [] });
    expect(last).toMatch(/^1\d segments: sound$/);
    // How many depends on which were merged already.
    expect((await readdir(journal())).filter((name) => name.endsWith('.index')).length).toBeGreaterThan(1);
    expect(await verify(join(work, 'scratch'))).toMatchObject({ code: 0, faults: [] });
  });

  it('names a flipped byte in a record, goes on behind it, and finds the next one in another segment', async () => {
    await expectFaults(async ({ folder, segments }) => {
      const places = [[segments[2], FIRST_BODY_AT + 4, 'body checksum'], [segments[5], SEGMENT_HEADER_BYTES + 44, 'header checksum or salt']] as const;
      for (const [name = '', at] of places) await turnBit(join(folder, name), at);
      return places.map(([name, , what]) => new RegExp(`^segment ${numberOf(name)}, byte 1024: ${what}; goes on with record \\d+ at byte \\d+$`));
    });
  });

  it('names a flipped byte in the header of a segment, and of the last one', async () => {
    await expectFaults(async ({ folder, segments }) => {
      await turnBit(join(folder, segments[4] ?? ''), 100);
      return [new RegExp(`^segment ${numberOf(segments[4])}, byte 0: its header does not read$`)];
    });
    await expectFaults(async ({ folder, segments }) => {
      await turnBit(join(folder, segments.at(-1) ?? ''), SEGMENT_HEADER_BYTES - 1);
      return [new RegExp(`^segment ${numberOf(segments.at(-1))}, byte 0: its header does not read$`)];
    });
  });

  it('names what of an index file is damaged: page, fence page, upper fences, sections, footer', async () => {
    await expectFaults(async ({ folder, indexes: [name = ''] }) => {
      await turnBit(join(folder, name), PAGE_BYTES + 100);
      return [new RegExp(`^index ${name}: page 1 \\(byte 4096\\): checksum$`)];
    });
    await expectFaults(async ({ folder, indexes }) => {
      const name = indexes.at(-1) ?? '';
      const { size } = await stat(join(folder, name));
      await turnBit(join(folder, name), size - 1);
      return [new RegExp(`^index ${name}: footer \\(byte \\d+\\): checksum$`)];
    });
    await expectFaults(async ({ folder, indexes: [name = ''] }) => {
      const pageCount = (await readFile(join(folder, name))).subarray(-FOOTER_BYTES).readUInt32LE(32);
      await turnBit(join(folder, name), PAGE_BYTES * pageCount + 50);
      return [new RegExp(`^index ${name}: fence page ${pageCount} \\(byte ${PAGE_BYTES * pageCount}\\): checksum$`)];
    });
    await expectFaults(async ({ folder, indexes: [name = ''] }) => {
      const footer = (await readFile(join(folder, name))).subarray(-FOOTER_BYTES);
      const [pageCount, fencePageCount] = [footer.readUInt32LE(32), footer.readUInt32LE(52)];
      await turnBit(join(folder, name), PAGE_BYTES * (pageCount + fencePageCount) + 9);
      return [new RegExp(`^index ${name}: fence page ${pageCount} \\(.*: its upper fence says something else$`), new RegExp(`^index ${name}: upper fences \\(byte \\d+\\): checksum$`)];
    });
    await expectFaults(async ({ folder, indexes: [, name = ''] }) => {
      const { size } = await stat(join(folder, name));
      await turnBit(join(folder, name), size - 140);
      return [new RegExp(`^index ${name}: sections \\(byte \\d+\\): checksum$`)];
    });
  });

  it('names an entry that is of no write, though all checksums hold, and a file under the name of another', async () => {
    await expectFaults(async ({ folder, indexes: [name = ''] }) => {
      await editPage(join(folder, name), (page) => page.writeUInt32LE(page.readUInt32LE(FIRST_LENGTH_AT) + 1, FIRST_LENGTH_AT));
      const where = `^index ${name}, segment \\d+: 1 entries `;
      return [new RegExp(`${where}of no write in it, the first of volume 0, offset 0$`), new RegExp(`${where}missing, the first of volume 0, offset 0$`)];
    });
    await expectFaults(async ({ folder, indexes }) => {
      const [one = '', two = ''] = indexes.slice(-2);
      await cp(join(folder, one), join(folder, two));
      return [new RegExp(`^index ${two}: its footer says segments \\d+ to \\d+$`)];
    });
  });

  it('names a missing segment: in the middle, the oldest that is needed, the last', async () => {
    for (const at of [3, 0, -1]) {
      await expectFaults(async ({ folder, segments }) => {
        const name = segments.at(at) ?? '';
        await rm(join(folder, name));
        return [new RegExp(`^segment ${numberOf(name)} is missing: `)];
      });
    }
  });

  it('names an owner.json whose seal does not fit, and a file that does not belong there', async () => {
    await expectFaults(async ({ folder }) => {
      await turnBit(join(folder, 'owner.json'), 12);
      await writeFile(join(folder, 'something'), '');
      return [/^owner\.json: its seal does not fit$/, /^something: does not belong in a journal$/];
    });
  });

  it('notes leftovers of a kill without calling them faults', async () => {
    const folder = join(work, 'copy');
    await cp(journal(), folder, { recursive: true });
    await writeFile(join(folder, '0000000009-0000000009.index.temp'), new Uint8Array(100));
    await writeFile(join(folder, '0000000099.segment'), new Uint8Array(100));
    const { code, notes } = await verify(folder);
    await rm(folder, { recursive: true });
    expect({ code, notes }).toEqual({ code: 0, notes: [expect.stringContaining('segment 99: its creation did not finish'), expect.stringContaining('.index.temp: was not finished')] });
  });
});
