import { crc32 } from 'node:zlib';

export const DESCRIBED_BLOCK_BYTES = 4096;

const MAGIC = Buffer.from('TIDEMARK', 'latin1');
const AT = { magic: 0, lane: 8, volume: 12, seq: 16, offset: 24, checksum: 32, filler: 36 } as const;
/** The rest of the filler is noise: half of a block compresses, as a database's does more or less. */
const TEXT_END = 2048;

/** What a block says about itself: which write put it where. */
export interface BlockDescription {
  readonly lane: number;
  readonly volume: number;
  /** Place in the lane's writes, from 1. */
  readonly seq: number;
  readonly offset: number;
}

export function encodeBlock(description: BlockDescription): Buffer {
  const block = Buffer.alloc(DESCRIBED_BLOCK_BYTES);
  MAGIC.copy(block, AT.magic);
  block.writeUInt32LE(description.lane, AT.lane);
  block.writeUInt32LE(description.volume, AT.volume);
  block.writeBigUInt64LE(BigInt(description.seq), AT.seq);
  block.writeBigUInt64LE(BigInt(description.offset), AT.offset);
  block.fill(`lane ${description.lane} write ${description.seq} `, AT.filler, TEXT_END, 'latin1');
  fillWithNoise(block.subarray(TEXT_END), description.seq * 31 + description.lane);
  block.writeUInt32LE(crc32(block), AT.checksum);
  return block;
}

/** `empty`: never written. `foreign`: not a whole block of this workload. */
export function decodeBlock(block: Buffer): BlockDescription | 'empty' | 'foreign' {
  if (isZero(block)) return 'empty';
  if (!block.subarray(0, MAGIC.byteLength).equals(MAGIC)) return 'foreign';
  const checksum = block.readUInt32LE(AT.checksum);
  const copy = Buffer.from(block);
  copy.writeUInt32LE(0, AT.checksum);
  if (crc32(copy) !== checksum) return 'foreign';
  return {
    lane: block.readUInt32LE(AT.lane),
    volume: block.readUInt32LE(AT.volume),
    seq: Number(block.readBigUInt64LE(AT.seq)),
    offset: Number(block.readBigUInt64LE(AT.offset)),
  };
}

const ZEROES = Buffer.alloc(DESCRIBED_BLOCK_BYTES);
const isZero = (block: Buffer): boolean => block.equals(ZEROES);

/** xorshift32: the same bytes for the same seed, everywhere. */
function fillWithNoise(bytes: Buffer, seed: number): void {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  for (let at = 0; at < bytes.byteLength; at += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeUInt32LE(state >>> 0, at);
  }
}

/** A number that depends on all bits of both arguments, 32 bits unsigned (the finaliser of MurmurHash3). */
export function mix(seed: number, value: number): number {
  let state = (seed ^ Math.imul(value, 0x9e3779b1)) >>> 0;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
