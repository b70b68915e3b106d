import { appendFile, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { FrameCodec, type FrameHeader, RecordType } from '@tidemark/frame';
import { FaultVolume, MemoryVolume } from '@tidemark/volume';
import { crc32c } from './defaults.js';
import { type FileLayer, JournalFile, nodeFiles } from './index.js';
import { type BenchOptions, FileBench, frameOf, IDENTITY, mark, readAll, syncStart, write, zeroes } from './testing/fixture.js';

const benches: FileBench[] = [];

async function make(options: BenchOptions = {}): Promise<FileBench> {
  const bench = await FileBench.make(options);
  benches.push(bench);
  return bench;
}

afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.remove();
});

const bytes = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

async function fills(bench: FileBench, checkpointId: number, offsets: readonly number[]): Promise<(number | undefined)[]> {
  const view = await bench.journal.openView({ checkpointId });
  const [volume] = view.volumes;
  if (volume === undefined) throw new Error('a view has volumes');
  const contents = await readAll(volume);
  await view.close();
  return offsets.map((offset) => contents[offset]);
}

/** Real files with a place to put failures and delays in. */
function faultyFiles(fault: (what: 'write' | 'sync' | 'create', path: string) => Error | undefined): FileLayer {
  return {
    ...nodeFiles,
    async open(path, mode) {
      const error = mode === 'create' ? fault('create', path) : undefined;
      if (error !== undefined) throw error;
      const handle = await nodeFiles.open(path, mode);
      const check = (what: 'write' | 'sync'): void => {
        const failure = fault(what, path);
        if (failure !== undefined) throw failure;
      };
      return {
        writeAll: async (chunks, at) => {
          check('write');
          await handle.writeAll(chunks, at);
        },
        dataSync: async () => {
          check('sync');
          await handle.dataSync();
        },
        readFully: async (target, at) => await handle.readFully(target, at),
        size: async () => await handle.size(),
        truncate: async (size) => await handle.truncate(size),
        dropCache: () => handle.dropCache(),
        close: async () => await handle.close(),
      };
    },
  };
}

const errno = (code: string): Error => Object.assign(new Error(code), { code });

describe('a journal on real files', () => {
  it('takes the base straight into the mirror and everything after it into the journal', async () => {
    const mirror = new MemoryVolume({ sizeBytes: 1024 * 1024 });
    const bench = await make({ mirrors: [mirror] });
    await bench.begin();
    await bench.sendDurable([syncStart(), { ...write(0, bytes(1)), type: RecordType.syncWrite }]);
    expect([mirror.bytes[0], bench.journal.stats().isBaseComplete]).toEqual([1, false]);
    // What stands behind syncEnd in the same frame is journal only.
    await bench.sendDurable([mark(RecordType.syncEnd), write(0, bytes(2))]);
    const checkpointId = await bench.checkpoint();
    expect([mirror.bytes[0], bench.journal.stats().isBaseComplete, await fills(bench, checkpointId, [0])]).toEqual([1, true, [2]]);
  });

  it('lists the same checkpoints after a restart, across segments, and serves them', async () => {
    const bench = await make({ segmentBytes: 64 * 1024 });
    await bench.base();
    for (let i = 1; i <= 40; i += 1) {
      bench.send([write(4096 * (i % 7), bytes(i))]);
      await bench.checkpoint();
    }
    const before = bench.journal.checkpoints();
    expect(bench.journal.stats().segmentCount).toBeGreaterThan(2);
    await bench.reopen();
    expect(bench.journal.checkpoints().map(({ checkpointId }) => checkpointId)).toEqual(before.map(({ checkpointId }) => checkpointId));
    expect(await fills(bench, 20, [4096 * 6, 0])).toEqual([20, 14]);
    expect(await fills(bench, 40, [4096 * 6, 0])).toEqual([34, 35]);
    for (const { arrivedMs } of bench.journal.checkpoints()) expect(arrivedMs).toBeLessThanOrEqual(performance.now());
  });

  it('keeps compressed frames as received', async () => {
    const bench = await make();
    await bench.base();
    const { header, body } = frameOf([write(0, bytes(7, 65_536))], { firstSeq: bench.lastSeq + 1, incarnation: bench.incarnation, epoch: 1 });
    const packed = zstdCompressSync(body);
    const compressed: FrameHeader = { ...header, codec: FrameCodec.zstd, bodyBytes: packed.byteLength, bodyCrc: crc32c(packed) };
    bench.journal.append(compressed, packed, [write(0, bytes(7, 65_536))]);
    bench.lastSeq += 1;
    const checkpointId = await bench.checkpoint();
    expect(bench.journal.stats().journalBytes).toBeLessThan(8192);
    await bench.reopen();
    expect(await fills(bench, checkpointId, [0, 65_535, 65_536])).toEqual([7, 7, 0]);
  });

  it('retires, applies and frees; views see the same before, during and after', async () => {
    const mirror = new MemoryVolume({ sizeBytes: 1024 * 1024 });
    const bench = await make({ mirrors: [mirror], segmentBytes: 32 * 1024 });
    await bench.base();
    for (let i = 1; i <= 30; i += 1) {
      bench.send([write(4096 * i, bytes(i)), zeroes(4096 * (i - 1), 4096)]);
      await bench.checkpoint();
    }
    const view = await bench.journal.openView({ checkpointId: 25 });
    const [volume] = view.volumes;
    if (volume === undefined) throw new Error('a view has volumes');
    const before = await readAll(volume);
    await expect(bench.journal.retire(26)).rejects.toMatchObject({ code: 'JOURNAL_PINNED' });
    await expect(bench.journal.allowApply(20)).rejects.toMatchObject({ code: 'JOURNAL_NOT_RETIRED' });
    await bench.journal.retire(20);
    const applying = bench.journal.allowApply(20);
    expect(Buffer.compare(await readAll(volume), before)).toBe(0);
    await applying;
    expect([mirror.bytes[4096 * 20], mirror.bytes[4096 * 21], mirror.bytes[4096 * 19]]).toEqual([20, 0, 0]);
    expect(Buffer.compare(await readAll(volume), before)).toBe(0);
    const filesBefore = (await readdir(join(bench.folder, 'journal'))).length;
    await view.close();
    await bench.journal.allowApply(20);
    await bench.reopen();
    expect((await readdir(join(bench.folder, 'journal'))).length).toBeLessThan(filesBefore);
    expect(bench.journal.checkpoints()[0]?.checkpointId).toBe(20);
    expect(await fills(bench, 20, [4096 * 20])).toEqual([20]);
    expect(await fills(bench, 30, [4096 * 30, 4096 * 29])).toEqual([30, 0]);
  });

  it('says full when its share is used up, takes nothing, keeps its checkpoints, and resumes', async () => {
    let spaceBytes = Infinity;
    const bench = await make({ spaceGuard: () => spaceBytes });
    await bench.base();
    bench.send([write(0, bytes(1))]);
    const checkpointId = await bench.checkpoint();
    spaceBytes = 1000;
    bench.send([write(0, bytes(2))]);
    expect([bench.states, bench.journal.stats().state.phase]).toEqual([['full'], 'full']);
    await expect(bench.journal.beginIncarnation({ sessionId: 'session-1', epoch: 1 })).rejects.toMatchObject({ code: 'JOURNAL_FULL', isRetryable: true });
    expect(await fills(bench, checkpointId, [0])).toEqual([1]);
    spaceBytes = Infinity;
    bench.journal.resume();
    await bench.begin();
    await bench.sendDurable([write(0, bytes(3))]);
    expect(bench.states).toEqual(['full', 'open']);
  });

  it('breaks at EIO without repeating the sync; the durable position stands still; checkpoints read, also after a restart', async () => {
    let isFailing = false;
    let syncs = 0;
    const files = faultyFiles((what, path) => {
      if (!isFailing || what !== 'sync' || !path.includes('0000000001')) return undefined;
      syncs += 1;
      return errno('EIO');
    });
    const bench = await make({ files });
    await bench.base();
    bench.send([write(0, bytes(1))]);
    const checkpointId = await bench.checkpoint();
    const { durableSeq } = bench.journal.stats();
    isFailing = true;
    bench.send([write(0, bytes(2))]);
    while (bench.states.length === 0) await new Promise((resolve) => setImmediate(resolve));
    bench.send([write(0, bytes(3))]); // dropped
    const answer = bench.journal.reserveEpoch(2);
    expect([syncs, bench.states, bench.journal.stats().durableSeq]).toEqual([1, ['broken'], durableSeq]);
    expect(await fills(bench, checkpointId, [0])).toEqual([1]);
    await answer;
    // What is older has been read back meanwhile: frames are taken again, into the new generation, once a sync has begun.
    while (bench.journal.stats().state.phase === 'broken') await new Promise((resolve) => setImmediate(resolve));
    expect(bench.states).toEqual(['broken', 'open']);
    isFailing = false;
    await bench.reopen();
    const { state, reservedEpoch } = bench.journal.stats();
    expect([state.phase, bench.journal.stats().durableSeq, reservedEpoch]).toEqual(['open', durableSeq, 2]);
    expect(await fills(bench, checkpointId, [0])).toEqual([1]);
  });

  it('acknowledges nothing while the sync has not returned', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let isHeld = false;
    const files: FileLayer = {
      ...nodeFiles,
      async open(path, mode) {
        const handle = await nodeFiles.open(path, mode);
        const dataSync = handle.dataSync.bind(handle);
        handle.dataSync = async () => {
          if (isHeld) await held;
          await dataSync();
        };
        return handle;
      },
    };
    const bench = await make({ files });
    await bench.base();
    const before = bench.durableSeq;
    isHeld = true;
    const seq = bench.send([write(0, bytes(1))]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(bench.durableSeq).toBe(before);
    release();
    await bench.durable(seq);
  });

  it('a mirror that fails during the base copy breaks the journal, a full one only fills it', async () => {
    for (const [code, phase] of [['VOLUME_FULL', 'full'], ['VOLUME_IO', 'broken']] as const) {
      let isFailing = false;
      const mirror = new FaultVolume(new MemoryVolume({ sizeBytes: 65_536 }), ({ kind }) => (isFailing && kind === 'write' ? { error: code } : undefined));
      const bench = await make({ mirrors: [mirror] });
      await bench.begin();
      isFailing = true;
      bench.send([syncStart(), { ...write(0, bytes(1)), type: RecordType.syncWrite }]);
      while (bench.states.length === 0) await new Promise((resolve) => setImmediate(resolve));
      expect([bench.states, bench.durableSeq]).toEqual([[phase], 0]);
    }
  });

  it('removes its folder and leaves the mirrors alone', async () => {
    const mirror = new MemoryVolume({ sizeBytes: 65_536 });
    const bench = await make({ mirrors: [mirror] });
    await bench.base();
    await bench.journal.remove();
    expect(await readdir(bench.folder)).toEqual([]);
    mirror.write(0, bytes(1));
    await expect(bench.journal.retire(1)).rejects.toMatchObject({ code: 'JOURNAL_CLOSED' });
  });

  it('refuses the folder of another protection', async () => {
    const bench = await make();
    await bench.journal.close();
    const open = JournalFile.open({
      folder: join(bench.folder, 'journal'), identity: { ...IDENTITY, vmId: 'vm-2' }, volumes: [], epoch: 1,
      clocks: { monotonicMs: () => 0, wallClockMs: () => 0 }, onDurable: () => undefined, onCheckpointsChanged: () => undefined, onState: () => undefined,
    });
    await expect(open).rejects.toMatchObject({ code: 'JOURNAL_IDENTITY' });
    await rm(bench.folder, { recursive: true, force: true });
  });
});

it('whoever is told between the scan and the first change that the journal is another one\'s has changed nothing', async () => {
  let isMoved = false;
  const bench = await make({ beforeChange: () => (isMoved ? Promise.reject(new Error('it belongs to another VRA')) : Promise.resolve()) });
  await bench.base();
  await bench.sendDurable([write(0, bytes(7))]);
  await bench.journal.close();
  const newest = (await readdir(join(bench.folder, 'journal'))).filter((name) => name.endsWith('.segment')).sort().at(-1) ?? '';
  const path = join(bench.folder, 'journal', newest);
  await appendFile(path, bytes(9, 100)); // a torn tail: an opening cuts it off
  const before = await readFile(path);
  const { lastSeq } = bench;
  isMoved = true;
  await expect(bench.open()).rejects.toThrow('it belongs to another VRA');
  expect((await readFile(path)).equals(before)).toBe(true);
  isMoved = false;
  await bench.open();
  expect([bench.journal.stats().state.phase, bench.durableSeq, (await readFile(path)).equals(before)]).toEqual(['open', lastSeq, false]);
});
