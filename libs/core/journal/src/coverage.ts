import { MiB } from '@tidemark/base';

const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
const SECTORS = BLOCK_BYTES / SECTOR_BYTES;
const ALL_SECTORS = (1 << SECTORS) - 1;
/** Blocks of one bitmap: 128 MiB of volume in 4 KiB of memory. */
const CHUNK_BLOCKS = (128 * MiB) / BLOCK_BYTES;
/** 32 MiB of bitmaps: a TiB of volume, all of it. */
const CHUNKS_MAX = 8192;
/** Blocks of which only some sectors are covered: some 6 MiB. */
const PARTIAL_MAX = 65_536;

/** What is covered of one volume. Chunks by number; sectors of blocks that are not wholly covered by block number. */
interface VolumeCoverage {
  readonly chunks: Map<number, Uint8Array>;
  readonly partial: Map<number, number>;
}

/**
 * Which sectors of the volumes have been seen, in bounded memory: what does not fit is forgotten, so what it calls uncovered may be covered after all,
 * never the other way round. Whole sectors only: the rest of an unaligned extent counts as uncovered.
 */
export class Coverage {
  readonly #volumes = new Map<number, VolumeCoverage>();
  #chunkCount = 0;
  #partialCount = 0;

  constructor(private readonly limits = { chunks: CHUNKS_MAX, partial: PARTIAL_MAX }) {}

  clear(): void {
    this.#volumes.clear();
    this.#chunkCount = 0;
    this.#partialCount = 0;
  }

  add(volume: number, start: number, end: number): void {
    const first = Math.ceil(start / SECTOR_BYTES);
    const last = Math.floor(end / SECTOR_BYTES);
    if (first >= last) return;
    const covered = this.#of(volume);
    const firstBlock = Math.ceil(first / SECTORS);
    const endBlock = Math.floor(last / SECTORS);
    if (firstBlock > endBlock) return this.#addPart(covered, endBlock, { from: first % SECTORS, to: last % SECTORS });
    if (first % SECTORS > 0) this.#addPart(covered, firstBlock - 1, { from: first % SECTORS, to: SECTORS });
    if (last % SECTORS > 0) this.#addPart(covered, endBlock, { from: 0, to: last % SECTORS });
    this.#addBlocks(covered, firstBlock, endBlock);
  }

  /** Calls `visit` for the runs of `[start, end)` that are not covered, in order. */
  uncovered(volume: number, start: number, end: number, visit: (start: number, end: number) => void): void {
    const covered = this.#volumes.get(volume);
    if (covered === undefined) return visit(start, end);
    let from = -1;
    for (let at = start; at < end;) {
      const block = Math.floor(at / BLOCK_BYTES);
      const mask = this.#maskOf(covered, block);
      // All or nothing of the block: no sector of it need be looked at.
      const isWhole = mask === 0 || mask === ALL_SECTORS;
      const stop = Math.min(end, isWhole ? (block + 1) * BLOCK_BYTES : (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      const isCovered = mask === ALL_SECTORS || (mask & (1 << (Math.floor(at / SECTOR_BYTES) % SECTORS))) !== 0;
      if (!isCovered && from < 0) from = at;
      if (isCovered && from >= 0) {
        visit(from, at);
        from = -1;
      }
      at = stop;
    }
    if (from >= 0) visit(from, end);
  }

  #of(volume: number): VolumeCoverage {
    const known = this.#volumes.get(volume) ?? { chunks: new Map(), partial: new Map() };
    this.#volumes.set(volume, known);
    return known;
  }

  #maskOf({ chunks, partial }: VolumeCoverage, block: number): number {
    const bits = chunks.get(Math.floor(block / CHUNK_BLOCKS));
    const bit = block % CHUNK_BLOCKS;
    if (bits !== undefined && ((bits[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0) return ALL_SECTORS;
    return partial.get(block) ?? 0;
  }

  #addPart(covered: VolumeCoverage, block: number, { from, to }: { readonly from: number; readonly to: number }): void {
    const before = this.#maskOf(covered, block);
    const mask = before | (((1 << to) - 1) & ~((1 << from) - 1));
    if (mask === before) return;
    if (mask === ALL_SECTORS) return this.#addBlocks(covered, block, block + 1);
    if (before === 0 && this.#partialCount >= this.limits.partial) return;
    if (before === 0) this.#partialCount += 1;
    covered.partial.set(block, mask);
  }

  #addBlocks(covered: VolumeCoverage, first: number, end: number): void {
    for (let block = first; block < end;) {
      const number = Math.floor(block / CHUNK_BLOCKS);
      const stop = Math.min(end, (number + 1) * CHUNK_BLOCKS);
      const bits = this.#chunk(covered, number);
      if (bits !== undefined) fillBits(bits, block - number * CHUNK_BLOCKS, stop - number * CHUNK_BLOCKS);
      block = stop;
    }
  }

  #chunk({ chunks }: VolumeCoverage, number: number): Uint8Array | undefined {
    const known = chunks.get(number);
    if (known !== undefined || this.#chunkCount >= this.limits.chunks) return known;
    const bits = new Uint8Array(CHUNK_BLOCKS / 8);
    chunks.set(number, bits);
    this.#chunkCount += 1;
    return bits;
  }
}

function fillBits(bits: Uint8Array, from: number, to: number): void {
  let bit = from;
  while (bit < to && (bit & 7) !== 0) bit = setBit(bits, bit);
  const wholeEnd = to - (to & 7);
  if (bit < wholeEnd) {
    bits.fill(0xff, bit >> 3, wholeEnd >> 3);
    bit = wholeEnd;
  }
  while (bit < to) bit = setBit(bits, bit);
}

function setBit(bits: Uint8Array, bit: number): number {
  bits[bit >> 3] = (bits[bit >> 3] ?? 0) | (1 << (bit & 7));
  return bit + 1;
}
