import { expect } from '@jest/globals';
import { BLOCK_BYTES, MiB } from '@tidemark/base';
import { RecordType, type CheckpointMarker, type StreamRecord } from '@tidemark/frame';
import { MemoryBudget, Sender, type OpenedReply, type OutgoingFrame, type SenderOptions } from '../index.js';

export const B = BLOCK_BYTES;
export const SIZE = 64 * B;
export const MARKER: CheckpointMarker = { vpgId: 'g', checkpointId: 5, epoch: 1, term: 3, vmIds: ['m'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' };
export const SEAL = { vpgId: 'g', checkpointId: 5, term: 3 };
export const OPENED: OpenedReply = { incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: false, creditBytes: 16 * MiB };
export const NAMES = Object.fromEntries(Object.entries(RecordType).map(([name, type]) => [type, name]));

/** `write 1+2`: type, first block, blocks. */
export const shortOf = ({ type, offset, length }: StreamRecord): string => (length === 0 ? `${NAMES[type]}` : `${NAMES[type]} ${offset / B}+${length / B}`);

/** How often each payload is held. */
export class CountedMemory {
  readonly holders = new Map<Uint8Array, number>();
  retain(part: Uint8Array): void { this.holders.set(part, (this.holders.get(part) ?? 0) + 1); }
  release(part: Uint8Array): void { this.holders.set(part, (this.holders.get(part) ?? 0) - 1); }
  /** Of the guest's writes: marks have memory of their own. */
  get counts(): number[] { return [...this.holders].flatMap(([part, count]) => (part.byteLength === B ? [count] : [])); }
}

export class Bench {
  readonly budget: MemoryBudget;
  readonly sender: Sender;

  constructor(options: Partial<SenderOptions> & { readonly budgetBytes?: number } = {}) {
    this.budget = new MemoryBudget(options.budgetBytes ?? 4 * MiB);
    const { budgetBytes: _, ...rest } = options;
    this.sender = new Sender({ vpgId: 'g', vmId: 'm', epoch: 1, sessionId: 's', volumeSizesBytes: [SIZE], budget: this.budget.share(), ...rest });
  }

  open(reply: Partial<OpenedReply> = {}): void {
    this.sender.openRequest();
    this.sender.opened({ ...OPENED, ...reply });
  }

  reopen(reply: Partial<OpenedReply> = {}): void {
    this.sender.linkDown();
    this.open({ incarnation: 2, lastSessionId: 's', isBaseComplete: true, ...reply });
  }

  write(block: number, blocks = 1): void {
    this.sender.capture({ volume: 0, offset: block * B, length: blocks * B, payload: new Uint8Array(blocks * B).fill(7) });
  }

  /** Everything that may be sent now. */
  frames(rawBytesMax = MiB): OutgoingFrame[] {
    const frames: OutgoingFrame[] = [];
    for (let frame = this.sender.nextFrame(rawBytesMax); frame !== undefined; frame = this.sender.nextFrame(rawBytesMax)) frames.push(frame);
    return frames;
  }

  sent(): string[] {
    return this.frames().flatMap(({ records }) => records.map(shortOf));
  }

  ack(durableSeq = this.sender.status().sentSeq, creditBytes = 16 * MiB): void {
    this.sender.acked({ durableSeq, creditBytes });
  }

  /** Finds everything different, reads it as zeroes, sends it and has it acknowledged. */
  sync(): void {
    for (let compare = this.sender.nextCompare(); compare !== undefined; compare = this.sender.nextCompare()) this.sender.compared(compare.compareId, new Uint8Array(64));
    for (let read = this.sender.nextSyncRead(); read !== undefined; read = this.sender.nextSyncRead()) this.sender.syncReadDone(read.readId, 'zeroes');
    this.frames();
    this.ack();
  }
}

export function replicating(options: Partial<SenderOptions> & { readonly budgetBytes?: number } = {}): Bench {
  const bench = new Bench(options);
  bench.open();
  for (let round = 0; round < 5; round += 1) bench.sync();
  expect(bench.sender.status()).toMatchObject({ state: 'replicating', lagBytes: 0, sync: null });
  return bench;
}
