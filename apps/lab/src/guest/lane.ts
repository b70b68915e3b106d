import { DESCRIBED_BLOCK_BYTES, decodeBlock, encodeBlock, mix } from './described-block.js';

/** A part of one disk that belongs to one lane. */
export interface LaneRegion {
  /** For people: `db01 scsi:0:1`. */
  readonly label: string;
  /** Where it begins; a multiple of the block size. */
  readonly startOffset: number;
  readonly blockCount: number;
}

/**
 * A chain of dependent writes: each is issued after the one before it has completed, on the regions in turn. With regions on several VMs the
 * chain crosses VMs and hosts, so that a recovery point that cuts between them shows a write without its predecessor.
 */
export interface LanePlan {
  readonly lane: number;
  readonly seed: number;
  readonly regions: readonly LaneRegion[];
}

export interface Place {
  readonly region: number;
  readonly block: number;
  readonly offset: number;
}

/** Where write `seq` (from 1) goes; the same for everyone who has the plan. */
export function placeOf(plan: LanePlan, seq: number): Place {
  const index = (seq - 1) % plan.regions.length;
  const region = plan.regions[index];
  if (!region) throw new RangeError('a lane needs a region');
  const block = mix(plan.seed, seq) % region.blockCount;
  return { region: index, block, offset: region.startOffset + block * DESCRIBED_BLOCK_BYTES };
}

export function blockOfWrite(plan: LanePlan, seq: number): { readonly place: Place; readonly bytes: Buffer } {
  const place = placeOf(plan, seq);
  return { place, bytes: encodeBlock({ lane: plan.lane, volume: place.region, seq, offset: place.offset }) };
}

export interface LaneFinding {
  /** The image holds exactly the writes 1 … lastSeq. Meaningless when there are problems. */
  readonly lastSeq: number;
  /** Empty: the image is a prefix of the lane's writes. At most {@link PROBLEMS_MAX}. */
  readonly problems: readonly string[];
}

const PROBLEMS_MAX = 5;

/** Compares each region's bytes with what the first `lastSeq` writes leave there, `lastSeq` being the newest write found. */
export function examineLane(plan: LanePlan, images: readonly Buffer[]): LaneFinding {
  const problems: string[] = [];
  const found = plan.regions.map((region, index) => seqsIn(plan, { region, index, image: images[index] ?? Buffer.alloc(0) }, problems));
  const lastSeq = found.flat().reduce((newest, seq) => Math.max(newest, seq), 0);
  const expected = plan.regions.map((region) => new Array<number>(region.blockCount).fill(0));
  for (let seq = 1; seq <= lastSeq; seq++) {
    const place = placeOf(plan, seq);
    const region = expected[place.region];
    if (region) region[place.block] = seq;
  }
  for (const [index, region] of plan.regions.entries()) compareRegion(region, { expected: expected[index] ?? [], found: found[index] ?? [], lastSeq }, problems);
  return { lastSeq, problems: problems.slice(0, PROBLEMS_MAX) };
}

interface RegionImage {
  readonly region: LaneRegion;
  readonly index: number;
  readonly image: Buffer;
}

const FOREIGN = -1;

/** The seq that each block of a region claims: 0 never written, {@link FOREIGN} not a block that belongs there. */
function seqsIn(plan: LanePlan, { region, index, image }: RegionImage, problems: string[]): number[] {
  return Array.from({ length: region.blockCount }, (_, block) => {
    const bytes = image.subarray(block * DESCRIBED_BLOCK_BYTES, (block + 1) * DESCRIBED_BLOCK_BYTES);
    const description = bytes.byteLength === DESCRIBED_BLOCK_BYTES ? decodeBlock(bytes) : 'foreign';
    if (description === 'empty') return 0;
    const offset = region.startOffset + block * DESCRIBED_BLOCK_BYTES;
    if (description === 'foreign' || description.lane !== plan.lane || description.volume !== index || description.offset !== offset) {
      problems.push(`${region.label}: the block at ${offset} was never written by this lane`);
      return FOREIGN;
    }
    return description.seq;
  });
}

function compareRegion(region: LaneRegion, { expected, found, lastSeq }: { readonly expected: readonly number[]; readonly found: readonly number[]; readonly lastSeq: number }, problems: string[]): void {
  for (const [block, wanted] of expected.entries()) {
    const seq = found[block] ?? FOREIGN;
    if (seq === wanted || seq === FOREIGN) continue;
    const offset = region.startOffset + block * DESCRIBED_BLOCK_BYTES;
    problems.push(`${region.label}: the block at ${offset} holds write ${seq}, but write ${lastSeq} is there, which depends on write ${wanted}`);
  }
}
