import { describe, expect, it } from '@jest/globals';
import { DESCRIBED_BLOCK_BYTES, decodeBlock, encodeBlock } from './described-block.js';
import { blockOfWrite, examineLane, type LanePlan } from './lane.js';

const PLAN: LanePlan = {
  lane: 7,
  seed: 42,
  regions: [
    { label: 'db01', startOffset: 0, blockCount: 16 },
    { label: 'web01', startOffset: 8 * DESCRIBED_BLOCK_BYTES, blockCount: 8 },
  ],
};

/** The regions' bytes after exactly these writes, in this order. */
function imagesAfter(seqs: readonly number[]): Buffer[] {
  const images = PLAN.regions.map((region) => Buffer.alloc(region.blockCount * DESCRIBED_BLOCK_BYTES));
  for (const seq of seqs) {
    const { place, bytes } = blockOfWrite(PLAN, seq);
    bytes.copy(images[place.region]!, place.block * DESCRIBED_BLOCK_BYTES);
  }
  return images;
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

describe('described blocks', () => {
  it('tell what they were written as', () => {
    const description = { lane: 3, volume: 1, seq: 123_456, offset: 2 ** 33 };
    expect(decodeBlock(encodeBlock(description))).toEqual(description);
    expect(decodeBlock(Buffer.alloc(DESCRIBED_BLOCK_BYTES))).toBe('empty');
  });

  it('notice every flipped byte', () => {
    const block = encodeBlock({ lane: 1, volume: 0, seq: 9, offset: 4096 });
    for (let at = 0; at < block.byteLength; at += 1) {
      const flipped = Buffer.from(block);
      flipped[at] = flipped[at]! ^ 0x10;
      expect(decodeBlock(flipped)).toBe('foreign');
    }
  });
});

describe('a lane of dependent writes', () => {
  it.each([0, 1, 2, 17, 500])('after %d writes is a prefix of that length', (last) => {
    expect(examineLane(PLAN, imagesAfter(upTo(last)))).toEqual({ lastSeq: last, problems: [] });
  });

  it('any one write missing below a newer one is found, unless a later write covered it', () => {
    const last = 60;
    const whole = imagesAfter(upTo(last));
    for (const missing of upTo(last - 1)) {
      const images = imagesAfter(upTo(last).filter((seq) => seq !== missing));
      const isCovered = images.every((image, index) => image.equals(whole[index]!));
      expect(examineLane(PLAN, images).problems.length > 0).toBe(!isCovered);
    }
  });

  it('a cut between two VMs is found: one holds a write whose predecessor on the other is missing', () => {
    const [db01] = imagesAfter(upTo(41));
    const [, web01] = imagesAfter(upTo(31));
    expect(examineLane(PLAN, [db01!, web01!]).problems[0]).toMatch(/web01: the block at \d+ holds write \d+, but write 41 is there/);
  });

  it('writes applied in the wrong order are found', () => {
    const order = upTo(60);
    order.reverse();
    expect(examineLane(PLAN, imagesAfter(order)).problems).not.toEqual([]);
  });

  it('a torn block, a block of another place and a foreign block are found', () => {
    const change: ((image: Buffer) => void)[] = [
      (image) => image.fill(0, 100, 2048),
      (image) => image.copy(image, DESCRIBED_BLOCK_BYTES, 0, DESCRIBED_BLOCK_BYTES),
      (image) => image.fill(0xa5, 0, DESCRIBED_BLOCK_BYTES),
    ];
    for (const apply of change) {
      const images = imagesAfter(upTo(200));
      apply(images[0]!);
      expect(examineLane(PLAN, images).problems[0]).toMatch(/never written by this lane/);
    }
  });
});
