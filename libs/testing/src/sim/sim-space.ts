import { historyBytesToFree, resumeBytesOf, roomAtLimit } from '@tidemark/checkpoint';
import type { HeldCheckpoint } from '@tidemark/journal';
import type { JournalFile } from '@tidemark/journal-file';
import { Random } from './random.js';
import type { SwarmOptions } from './swarm.js';

/** Limits by size of one run: of a VM's disks, as the settings of a VPG give them. */
export interface SpaceOptions {
  readonly hardShare: number;
  readonly scratchShare: number;
  /** What a datastore has beyond its mirrors, of the sum of the journals' hard limits; Infinity: it has no end. */
  readonly datastoreShare: number;
}

const LIMITED_CHANCE = 0.2;
const KIB = 1024;
const SEGMENT_BYTES_MIN = 4 * KIB;
const SEGMENT_BYTES_MAX = 16 * KIB;
const CREDIT_BYTES_MIN = 8 * KIB;
/** Of a datastore with an end: left free. */
export const GUARD_BYTES = 64 * KIB;

/** By numbers of its own: the other choices of a seed stay. */
export function spaceOptions(seed: number, isLimited: boolean | undefined): SpaceOptions | undefined {
  const own = new Random(seed ^ 0x5bd31);
  const isChosen = own.chance(LIMITED_CHANCE);
  if (!(isLimited ?? isChosen)) return undefined;
  return { hardShare: own.pick([2, 4, 8]), scratchShare: own.pick([0.5, 3]), datastoreShare: own.pick([Infinity, Infinity, 0.5, 1]) };
}

/** What makes journals meet their limits: a history longer than they can be, checkpoints often, and somebody who looks at them. */
export function limited(options: SwarmOptions, seed: number, space: SpaceOptions): SwarmOptions {
  const own = new Random(seed ^ 0x5bd3f);
  const faults = new Map([...options.faults, ['pin', own.pick([200, 800])] as const]);
  return {
    ...options, space, faults, historyMs: own.pick([1500, 60_000, 60_000]), intervalMs: own.pick([60, 200]), thinkMsMax: Math.min(options.thinkMsMax, own.pick([2, 8])),
    writeSectorsMax: Math.max(options.writeSectorsMax, 8), frameBytesMax: Math.min(options.frameBytesMax, 16_000), isGuarded: space.datastoreShare < Infinity || options.isGuarded,
  };
}

/** The limits of one VM's recovery, in force through all lives of its process; an operator may raise them. */
export class SimSpace {
  hardBytes: number;
  readonly scratchHardBytes: number;
  /** As the product sets them by a limit, in proportion. */
  readonly segmentBytes: number;
  readonly creditBytesMax: number;
  /** Of the frame that did not fit. */
  neededBytes = 0;

  constructor({ hardShare, scratchShare }: SpaceOptions, volumeBytes: readonly number[], creditBytesMax: number) {
    const diskBytes = volumeBytes.reduce((sum, bytes) => sum + bytes, 0);
    this.hardBytes = Math.floor(diskBytes * hardShare);
    this.scratchHardBytes = Math.floor(diskBytes * scratchShare);
    this.segmentBytes = Math.max(SEGMENT_BYTES_MIN, Math.min(SEGMENT_BYTES_MAX, Math.floor(this.hardBytes / 32)));
    this.creditBytesMax = Math.min(creditBytesMax, Math.max(CREDIT_BYTES_MIN, Math.floor(this.hardBytes / 8)));
  }

  /** From here on an early retirement begins. */
  get wishBytes(): number {
    const { hardBytes, segmentBytes } = this;
    return hardBytes - Math.max(Math.floor(hardBytes / 20), 3 * segmentBytes, this.resumeBytes);
  }

  get resumeBytes(): number {
    return resumeBytesOf({ creditBytes: this.creditBytesMax, neededBytes: this.neededBytes });
  }

  roomBytes(journal: JournalFile, pendingBytes: number): number {
    return roomAtLimit({ hardBytes: this.hardBytes, journalBytes: journal.journalBytes, pendingBytes });
  }

  isAtHardLimit(journal: JournalFile, pendingBytes: number): boolean {
    return this.roomBytes(journal, pendingBytes) < this.resumeBytes;
  }

  wantedOldest(journal: JournalFile, pendingBytes: number): HeldCheckpoint | undefined {
    const { hardBytes, segmentBytes, creditBytesMax: creditBytes, neededBytes } = this;
    const isFull = journal.stats().state.phase === 'full' && this.isAtHardLimit(journal, pendingBytes);
    const bytes = historyBytesToFree({ journalBytes: journal.journalBytes, hardBytes, segmentBytes, creditBytes, isFull, neededBytes });
    if (bytes === 0) return undefined;
    journal.freeCutOff(bytes);
    return journal.checkpointThatFrees(bytes);
  }
}
