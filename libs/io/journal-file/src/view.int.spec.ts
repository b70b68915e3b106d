import { describe } from '@jest/globals';
import { describeReadOnlyVolume, describeVolume } from '@tidemark/volume/testing';
import type { Volume } from '@tidemark/volume';
import { FileBench, write, zeroes } from './testing/fixture.js';

/** Closing the volume ends its bench too. */
async function closingBench(bench: FileBench, volume: Volume): Promise<Volume> {
  const close = volume.close.bind(volume);
  volume.close = async () => {
    volume.close = close; // the bench closes it as well
    await close();
    await bench.remove();
  };
  return await Promise.resolve(volume);
}

describe('checkpoint views', () => {
  describeVolume('a checkpoint view with scratch', async ({ sizeBytes, isReadOnly }) => {
    const bench = await FileBench.make({ volumeBytes: [sizeBytes], segmentBytes: 256 * 1024 });
    await bench.base();
    // The journal first fills and then clears what the suite expects to be zeroes.
    bench.send([write(0, new Uint8Array(40_000).fill(7)), zeroes(0, 40_000), write(9000, new Uint8Array(100).fill(9)), zeroes(9000, 100)]);
    const checkpointId = await bench.checkpoint();
    await bench.sendDurable([write(0, new Uint8Array(50_000).fill(8))]);
    const view = await bench.journal.openView({ checkpointId, ...(isReadOnly ? {} : { scratchFolder: `${bench.folder}/scratch` }) });
    const [volume] = view.volumes;
    if (volume === undefined) throw new Error('a view has volumes');
    return await closingBench(bench, volume);
  });

  describeReadOnlyVolume('a checkpoint view without scratch', async (contents) => {
    const bench = await FileBench.make({ volumeBytes: [contents.byteLength], segmentBytes: 256 * 1024 });
    await bench.base();
    for (let at = 0; at < contents.byteLength; at += 100_000) bench.send([write(at, contents.slice(at, at + 100_000)), zeroes(at, Math.min(5, contents.byteLength - at)), write(at, contents.slice(at, at + 9))]);
    const checkpointId = await bench.checkpoint();
    const view = await bench.journal.openView({ checkpointId });
    const [volume] = view.volumes;
    if (volume === undefined) throw new Error('a view has volumes');
    return await closingBench(bench, volume);
  });
});
