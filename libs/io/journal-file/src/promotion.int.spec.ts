import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { syncLane } from '@tidemark/sys';
import { FaultVolume, MemoryVolume, type Volume } from '@tidemark/volume';
import type { CheckpointView } from './index.js';
import { nodeFiles } from './index.js';
import { type BenchOptions, FileBench, readAll, write, zeroes } from './testing/fixture.js';

const SIZE = 8 * 1024 * 1024;
const benches: FileBench[] = [];

afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.remove();
});

const bytes = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

/** A journal with history before and behind checkpoint 1, failed over to it. */
async function failedOver(options: BenchOptions & { readonly memory?: MemoryVolume } = {}): Promise<{ bench: FileBench; memory: MemoryVolume; expected: Uint8Array }> {
  const memory = options.memory ?? new MemoryVolume({ sizeBytes: SIZE });
  const { memory: _, ...rest } = options;
  const bench = await FileBench.make({ mirrors: [memory], segmentBytes: 1024 * 1024, ...rest });
  benches.push(bench);
  await bench.base();
  const expected = new Uint8Array(SIZE);
  for (let i = 0; i < 64; i += 1) {
    const at = (i * 7919 * 4096) % SIZE;
    bench.send([write(at, bytes(i + 1, 4096)), zeroes(at + 1024, 512)]);
    expected.fill(i + 1, at, at + 4096).fill(0, at + 1024, at + 1536);
  }
  await bench.checkpoint();
  await bench.sendDurable([write(0, bytes(255, 65_536))]); // behind the checkpoint: must not show
  return { bench, memory, expected };
}

async function openView(bench: FileBench): Promise<{ view: CheckpointView; volume: Volume }> {
  const view = await bench.journal.openView({ checkpointId: 1, scratchFolder: join(bench.folder, 'scratch') });
  const [volume] = view.volumes;
  if (volume === undefined) throw new Error('a view has volumes');
  return { view, volume };
}

async function commit(bench: FileBench): Promise<void> {
  await bench.journal.reserveEpoch(2);
  await bench.journal.commitEpoch(2);
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe('scratch', () => {
  it('a FLUSH of the guest does not wait for the fdatasyncs of journals on the same datastore', async () => {
    const bench = await FileBench.make({ volumeBytes: [64 * 1024] });
    await bench.base();
    const checkpointId = await bench.checkpoint();
    const view = await bench.journal.openView({ checkpointId, scratchFolder: join(bench.folder, 'scratch') });
    const gates: (() => void)[] = [];
    const lane = syncLane((await stat(bench.folder)).dev, 'journal');
    const slow = Array.from({ length: 5 }, async () => await lane.run(async () => await new Promise<void>((resolve) => { gates.push(resolve); })));
    await view.volumes[0]?.write(0, new Uint8Array(512).fill(1));
    await view.volumes[0]?.flush();
    await view.volumes[0]?.write(0, new Uint8Array(512).fill(2), { isFua: true });
    expect(gates).toHaveLength(2);
    while (gates.length > 0) {
      gates.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(slow);
    await view.close();
    await bench.remove();
  });

  it('keeps the guest\'s writes over a restart and changes neither mirror nor journal', async () => {
    const { bench, memory, expected } = await failedOver();
    const mirrorBefore = memory.bytes.slice();
    const journalBytes = bench.journal.stats().journalBytes;
    const { view, volume } = await openView(bench);
    await volume.write(4096, bytes(200));
    await volume.writeZeroes(6000, 1000);
    await volume.flush();
    expected.fill(200, 4096, 8192).fill(0, 6000, 7000);
    expect(isSame(await readAll(volume), expected)).toBe(true);
    await view.close();
    expect([isSame(memory.bytes, mirrorBefore), bench.journal.stats().journalBytes]).toEqual([true, journalBytes]);
    await bench.reopen();
    const again = await openView(bench);
    expect(isSame(await readAll(again.volume), expected)).toBe(true);
    await again.view.close();
    await again.view.dropScratch();
    await expect(access(join(bench.folder, 'scratch'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says full to the guest when there is no space, keeps what it has and goes on when there is', async () => {
    let isFull = false;
    const files = {
      ...nodeFiles,
      async open(path: string, mode: 'create' | 'readWrite') {
        const handle = await nodeFiles.open(path, mode);
        const writeAll = handle.writeAll.bind(handle);
        handle.writeAll = async (chunks, at) => {
          if (!isFull || !path.includes('scratch')) return await writeAll(chunks, at);
          await writeAll([chunks[0]?.subarray(0, 77) ?? new Uint8Array(0)], at); // a part lands
          throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
        };
        return handle;
      },
    };
    const { bench, expected } = await failedOver({ files });
    const { view, volume } = await openView(bench);
    await volume.write(0, bytes(100));
    isFull = true;
    await expect((async () => await volume.write(4096, bytes(101)))()).rejects.toMatchObject({ code: 'VOLUME_FULL' });
    isFull = false;
    await volume.write(8192, bytes(102), { isFua: true });
    expected.fill(100, 0, 4096).fill(102, 8192, 12_288);
    expect(isSame(await readAll(volume), expected)).toBe(true);
    await view.close();
    await bench.reopen();
    expect(isSame(await readAll((await openView(bench)).volume), expected)).toBe(true);
  });
});

describe('promotion', () => {
  it('is refused before the failover is committed', async () => {
    const { bench } = await failedOver();
    const { view } = await openView(bench);
    await expect(view.promote()).rejects.toMatchObject({ code: 'JOURNAL_EPOCH' });
  });

  it('moves journal and scratch into the mirror while the guest writes; then the mirror alone is the disk', async () => {
    const { bench, memory, expected } = await failedOver();
    const { view, volume } = await openView(bench);
    for (let i = 0; i < 1500; i += 1) {
      const at = (i * 104_729 * 512) % (SIZE - 4096);
      await volume.write(at, bytes(i % 251));
      expected.fill(i % 251, at, at + 4096);
    }
    await commit(bench);
    let isDone = false;
    const promoting = view.promote().finally(() => (isDone = true));
    let during = 0;
    for (let i = 0; !isDone; i += 1) {
      const at = (i * 15_485_863 * 512) % (SIZE - 4096);
      await volume.write(at, bytes(i % 249));
      expected.fill(i % 249, at, at + 4096);
      during += 1;
    }
    await promoting;
    expect(during).toBeGreaterThan(10);
    expect([view.phase, view.progress.promotedBytes]).toEqual(['promoted', view.progress.totalBytes]);
    await bench.journal.remove();
    await view.dropScratch();
    expect(isSame(memory.bytes, expected)).toBe(true);
    await volume.write(0, bytes(33)); // the view lives on without journal and scratch
    expect(memory.bytes[0]).toBe(33);
  });

  it('is finished after a restart, from any point, with what the guest wrote before and after', async () => {
    for (let failAt = 1; failAt < 60; failAt += 7) {
      let left = Infinity;
      const memory = new MemoryVolume({ sizeBytes: SIZE });
      const mirror = new FaultVolume(memory, ({ kind }) => (kind !== 'read' && kind !== 'allocation' && (left -= 1) < 0 ? { error: 'VOLUME_IO' } : undefined));
      const { bench, expected } = await failedOver({ mirrors: [mirror], memory });
      const first = await openView(bench);
      await first.volume.write(100, bytes(77, 10_000), { isFua: true });
      expected.fill(77, 100, 10_100);
      await commit(bench);
      left = failAt;
      await expect(first.view.promote()).rejects.toMatchObject({ code: 'VOLUME_IO' });
      expect([first.view.phase, isSame(await readAll(first.volume), expected)]).toEqual(['failed', true]);
      await bench.reopen(); // as a killed process would come back
      left = Infinity;
      const { view, volume } = await openView(bench);
      expect([view.phase, isSame(await readAll(volume), expected)]).toEqual(['promoting', true]);
      await volume.write(50, bytes(78, 100));
      expected.fill(78, 50, 150);
      await view.promote();
      expect(isSame(memory.bytes, expected)).toBe(true);
      await view.close();
      await bench.reopen();
      const after = await openView(bench);
      expect([after.view.phase, isSame(await readAll(after.volume), expected)]).toEqual(['promoted', true]);
    }
  });
});
