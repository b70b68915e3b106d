import { describe, expect, it } from '@jest/globals';
import { MemoryVolume, type ReadOptions } from '@tidemark/volume';
import { FileBench, readAll, write, zeroes } from './testing/fixture.js';

const bytes = (fill: number, length = 4096): Uint8Array => new Uint8Array(length).fill(fill);

describe('the head of a journal', () => {
  it('is mirror and journal up to the durable position of its opening, whatever is written, retired and applied later', async () => {
    const mirror = new MemoryVolume({ sizeBytes: 64 * 1024 });
    mirror.bytes.fill(1, 32 * 1024, 33 * 1024); // a preseeded disk
    const bench = await FileBench.make({ mirrors: [mirror], segmentBytes: 16 * 1024 });
    await bench.base();
    await bench.sendDurable([write(0, bytes(2, 8192)), zeroes(32 * 1024, 512)]);
    const first = await bench.checkpoint();
    await bench.sendDurable([write(4096, bytes(3))]);
    const head = await bench.journal.openHead();
    const [volume] = head.volumes;
    if (volume === undefined) throw new Error('a head has volumes');
    const expected = new Uint8Array(64 * 1024);
    expected.set(bytes(2), 0);
    expected.set(bytes(3), 4096);
    expected.fill(1, 32 * 1024 + 512, 33 * 1024);
    expect([head.seq, await readAll(volume)]).toEqual([bench.lastSeq, expected]);

    // Older checkpoints go, and their writes reach the mirror; later ones are refused, or their apply would show.
    await bench.journal.retire(first);
    await bench.journal.allowApply(first);
    for (let round = 0; round < 6; round += 1) await bench.sendDurable([write(0, bytes(9, 8192))]);
    const later = await bench.checkpoint();
    await expect(bench.journal.retire(later)).rejects.toMatchObject({ code: 'JOURNAL_PINNED', message: `the image at stream position ${head.seq} is in use` });
    const segments = bench.journal.stats().segmentCount;
    expect([segments > 3, await readAll(volume)]).toEqual([true, expected]);

    await head.close();
    await bench.journal.retire(later);
    await bench.journal.allowApply(later);
    expect(mirror.bytes[0]).toBe(9);
    while (bench.journal.stats().segmentCount >= segments) await new Promise((resolve) => setTimeout(resolve, 5));
    await bench.remove();
  });

  it('passes on to the mirror that its bytes are read once', async () => {
    const seen: unknown[] = [];
    class Mirror extends MemoryVolume {
      override read(offset: number, target: Uint8Array, options?: ReadOptions): void {
        seen.push([offset, target.length, options?.isOnce]);
        super.read(offset, target);
      }
    }
    const bench = await FileBench.make({ mirrors: [new Mirror({ sizeBytes: 64 * 1024 })] });
    await bench.base();
    await bench.sendDurable([write(4096, bytes(2))]);
    const head = await bench.journal.openHead();
    seen.length = 0;
    await head.volumes[0]?.read(0, new Uint8Array(16 * 1024), { isOnce: true });
    expect(seen).toEqual([[0, 4096, true], [8192, 8192, true]]);
    await head.close();
    await bench.remove();
  });

  it('is refused once a promotion has begun', async () => {
    const bench = await FileBench.make({ volumeBytes: [64 * 1024] });
    await bench.base();
    const checkpointId = await bench.checkpoint();
    await bench.journal.reserveEpoch(2);
    await bench.journal.commitEpoch(2);
    const view = await bench.journal.openView({ checkpointId, scratchFolder: `${bench.folder}/scratch` });
    const head = await bench.journal.openHead();
    await expect(view.promote()).rejects.toMatchObject({ code: 'JOURNAL_PINNED' });
    await head.close();
    await view.promote();
    await expect(bench.journal.openHead()).rejects.toMatchObject({ code: 'JOURNAL_ENDED' });
    await bench.remove();
  });
});
