import { expect, it } from '@jest/globals';
import { ImageLookup } from '@tidemark/journal';
import { type Volume, VolumeError } from '@tidemark/volume';
import type { FrameReader } from './frame-reader.js';
import { type ImageSource, ViewVolume } from './view-volume.js';
import { WriteGate } from './write-gate.js';

const SIZE_BYTES = 8192;
const WINDOW_BYTES = 4096;

/** Rejected, and known whether anybody has asked for what comes of it: Node ends a process in which nobody does. */
class Failing extends Promise<void> {
  isHeld = false;

  override then<A = void, B = never>(onDone?: ((value: void) => A | PromiseLike<A>) | null, onFailed?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<A | B> {
    this.isHeld = true;
    return super.then(onDone, onFailed);
  }
}

it('holds a read that fails while the next window is looked up, and tells of it in the end', async () => {
  const failing: Failing[] = [];
  const mirror: Pick<Volume, 'read'> = {
    read: () => {
      const failed = new Failing((_resolve, reject) => { reject(new VolumeError('VOLUME_IO', 'a sector')); });
      failing.push(failed);
      return failed;
    },
  };
  const heldAtLookups: boolean[][] = [];
  const base: ImageSource = {
    image: (start) => {
      heldAtLookups.push(failing.map(({ isHeld }) => isHeld));
      const end = start + WINDOW_BYTES;
      return { image: new ImageLookup([], { volume: 0, start, end, afterSeq: 0, beforeSeq: 1 }).image, end };
    },
  };
  const view = new ViewVolume({
    index: 0, sizeBytes: SIZE_BYTES, isReadOnly: true, mirror: mirror as Volume, base, reader: {} as FrameReader, scratch: undefined, gate: new WriteGate(() => true),
  });
  await expect(Promise.resolve(view.read(0, new Uint8Array(SIZE_BYTES)))).rejects.toMatchObject({ code: 'VOLUME_IO', message: 'a sector' });
  expect(heldAtLookups).toEqual([[], [true]]);
});
