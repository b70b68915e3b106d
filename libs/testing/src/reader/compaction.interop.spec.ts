import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, expect, it } from '@jest/globals';
import { FrameCodec, type StreamRecord } from '@tidemark/frame';
import { crc32c } from '@tidemark/journal-file';
import { FileBench, frameOf, readAll, write, zeroes } from '@tidemark/journal-file/testing';
import { describeWithTools } from '../interop/tools.js';
import { reader, SEGMENT_HEADER_BYTES } from './python-reader.js';

const VOLUME_BYTES = [96 * 1024, 24 * 1024];

let work = '';

async function send(bench: FileBench, records: readonly StreamRecord[], isPacked: boolean): Promise<void> {
  const { header, body } = frameOf(records, { firstSeq: bench.lastSeq + 1, incarnation: bench.incarnation, epoch: 1 });
  const packed = isPacked ? zstdCompressSync(body) : body;
  bench.journal.append({ ...header, codec: isPacked ? FrameCodec.zstd : FrameCodec.none, bodyBytes: packed.byteLength, bodyCrc: crc32c(packed) }, packed, records);
  bench.lastSeq = header.lastSeq;
  await bench.durable(bench.lastSeq);
}

/** Half of the frames compressed; a third of the checkpoints stays. */
async function compacted(): Promise<FileBench> {
  work = await mkdtemp(join(tmpdir(), 'tidemark-compaction-'));
  const bench = await FileBench.make({ folder: join(work, 'journal'), volumeBytes: VOLUME_BYTES, segmentBytes: 12 * 1024 });
  await bench.base();
  const ids: number[] = [];
  for (let round = 0; round < 60; round += 1) {
    const at = (round * 7 * 512) % (16 * 1024);
    await send(bench, [write(at, new Uint8Array(700).fill(1 + round)), zeroes(at + 512, 1024), write((at % 8192) + 4096, new Uint8Array(2048).fill(7 + round), 1)], round % 2 === 0);
    if (round % 3 === 2) ids.push(await bench.checkpoint());
  }
  await bench.journal.thin(ids.filter((_, i) => i % 5 !== 0));
  while (bench.journal.stats().unindexedSegments > 0) await sleep(2);
  const { rewrittenSegments } = await bench.journal.compact({ beforeSeq: Infinity, allow: () => Promise.resolve(), shouldStop: () => false, pause: () => Promise.resolve() });
  expect(rewrittenSegments).toBeGreaterThan(3);
  return bench;
}

async function verified(): Promise<{ readonly code: number; readonly lines: string[] }> {
  const { code, stdout, stderr } = await reader('verify', join(work, 'journal'));
  expect(stderr).toBe('');
  return { code, lines: stdout.trimEnd().split('\n') };
}

describeWithTools('a compacted journal, read from the specification alone', ['python3', 'zstd'], () => {
  afterAll(async () => {
    await rm(work, { recursive: true, force: true });
  });

  it('is sound, and shows the same images; a wrong word about what it stands for is found', async () => {
    const bench = await compacted();
    const { code, lines } = await verified();
    expect({ code, faults: lines.filter((line) => !line.startsWith('note: ')) }).toEqual({ code: 0, faults: [expect.stringContaining('sound') as unknown as string] });
    const mirrors = await Promise.all(bench.mirrors.map(async (mirror, volume) => {
      const path = join(work, `mirror-${String(volume)}`);
      await writeFile(path, await readAll(mirror));
      return path;
    }));
    for (const { checkpointId } of bench.journal.checkpoints()) {
      const view = await bench.journal.openView({ checkpointId });
      for (const [volume, mirror] of mirrors.entries()) {
        const out = join(work, 'out');
        const image = await reader('image', join(work, 'journal'), '--volume', String(volume), '--checkpoint', String(checkpointId), '--mirror', mirror, '--out', out);
        expect(image).toMatchObject({ code: 0, stderr: '' });
        const shown = view.volumes[volume];
        expect(shown !== undefined && (await readFile(out)).equals(await readAll(shown))).toBe(true);
      }
      await view.close();
    }
    await bench.journal.close();

    const names = (await readdir(join(work, 'journal'))).filter((name) => name.endsWith('.segment')).sort();
    for (const [at, expected] of [[996, /does not go on where|chain/], [992, /another chain value/], [968, /another chain value or number/]] as const) {
      const path = await firstCompacted(names);
      const before = await readFile(path);
      await edit(path, at);
      const found = await verified();
      expect(found.code).toBe(1);
      expect(found.lines.join('\n')).toMatch(expected);
      await writeFile(path, before);
    }
  });
});

async function firstCompacted(names: readonly string[]): Promise<string> {
  for (const name of names) {
    const path = join(work, 'journal', name);
    if ((await readFile(path)).readBigUInt64LE(960) > 0n) return path;
  }
  throw new Error('no compacted segment');
}

/** Changes a field of the header and makes its checksum fit. */
async function edit(path: string, at: number): Promise<void> {
  const file = await open(path, 'r+');
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  await file.read(header, 0, SEGMENT_HEADER_BYTES, 0);
  header.writeUInt8(header.readUInt8(at) ^ 1, at);
  header.writeUInt32LE(crc32c(header.subarray(4)), 0);
  await file.write(header, 0, SEGMENT_HEADER_BYTES, 0);
  await file.close();
}
