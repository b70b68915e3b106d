import { describe, expect, it } from '@jest/globals';
import { KiB, MiB } from '@tidemark/base';
import { FrameCodec, FrameKind, type FrameHeader } from '@tidemark/frame';
import fc from 'fast-check';
import { MemoryBudget, Receiver, Sender, type OutgoingFrame, type ReceiverEffect } from './index.js';

const SIZE = 64 * MiB;
const STREAMS = 24;
/** Guarantees of 85 KiB a stream: a little more than one record. */
const BUDGET_BYTES = 4 * MiB;

/** One stream with a sender of ours on one side and a receiver on the other; acks arrive at once, frames and commits when they are drawn. */
class Stream {
  readonly sender: Sender;
  readonly #receiver: Receiver;
  readonly #wire: OutgoingFrame[] = [];
  #appendedSeq = 0;

  constructor(index: number, receiving: MemoryBudget) {
    const vm = { vpgId: 'g', vmId: `m${index}`, epoch: 1, volumeSizesBytes: [SIZE] };
    this.sender = new Sender({ ...vm, sessionId: 's', budget: new MemoryBudget(256 * MiB).share() });
    this.#receiver = new Receiver({ ...vm, budget: receiving.share() });
    this.#step((effects) => this.#receiver.journalState('ready', effects));
    this.#step((effects) => this.#receiver.open(1, this.sender.openRequest(), effects));
  }

  get isSettled(): boolean {
    return this.sender.status().state === 'replicating' && this.sender.status().lagBytes === 0;
  }

  write(length: number): void {
    this.sender.capture({ volume: 0, offset: 0, length, payload: new Uint8Array(length) });
  }

  send(): void {
    for (let read = this.sender.nextSyncRead(); read !== undefined; read = this.sender.nextSyncRead()) this.sender.syncReadDone(read.readId, 'zeroes');
    for (let frame = this.sender.nextFrame(MiB); frame !== undefined; frame = this.sender.nextFrame(MiB)) this.#wire.push(frame);
  }

  deliver(): void {
    const frame = this.#wire.shift();
    if (frame === undefined) return;
    const { firstSeq, lastSeq, incarnation, epoch, records, rawBytes } = frame;
    const header: FrameHeader = { kind: FrameKind.records, codec: FrameCodec.none, stream: 1, incarnation, epoch, firstSeq, lastSeq, count: records.length, bodyBytes: rawBytes, rawBytes, bodyCrc: 0 };
    this.#step((effects) => this.#receiver.frame(1, header, records, effects));
  }

  commit(): void {
    this.#step((effects) => this.#receiver.durable(this.#appendedSeq, effects));
  }

  tick(): void {
    this.#step((effects) => this.#receiver.tick(effects));
  }

  #step(act: (effects: ReceiverEffect[]) => void): void {
    const effects: ReceiverEffect[] = [];
    act(effects);
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: ReceiverEffect): void {
    switch (effect.kind) {
      case 'beginIncarnation':
        return this.#step((effects) => this.#receiver.incarnationBegan({ openId: effect.openId, isBegun: true, incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false }, effects));
      case 'sendOpened':
        return this.sender.opened(effect.reply);
      case 'sendAck':
        return this.sender.acked(effect);
      case 'append':
        this.#appendedSeq = effect.header.lastSeq;
        return;
      default:
        throw new Error(`unexpected ${effect.kind}`);
    }
  }
}

/** Everything moves until all is durable. */
function settle(streams: readonly Stream[]): void {
  for (let round = 0; round < 2000 && !streams.every(({ isSettled }) => isSettled); round += 1) {
    for (const stream of streams) {
      stream.send();
      stream.deliver();
      stream.commit();
      if (round % 8 === 7) stream.tick();
    }
  }
  expect(streams.filter(({ isSettled }) => !isSettled)).toHaveLength(0);
}

const step = fc.tuple(fc.constantFrom('write', 'write', 'send', 'send', 'deliver', 'deliver', 'deliver', 'commit', 'tick'), fc.nat(STREAMS - 1), fc.integer({ min: 1, max: 2048 * KiB }));

describe('the memory of a recovering VRA', () => {
  it('is never exceeded by senders of ours, however long the writes, whatever stalls; and every stream gets through', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 200, maxLength: 400 }), (steps) => {
        const receiving = new MemoryBudget(BUDGET_BYTES);
        const streams = Array.from({ length: STREAMS }, (_, index) => new Stream(index, receiving));
        settle(streams);
        for (const [action, index, length] of steps) {
          const stream = streams[index];
          if (action === 'write') stream?.write(length);
          else stream?.[action]();
          expect(receiving.usedBytes).toBeLessThanOrEqual(BUDGET_BYTES);
        }
        settle(streams);
      }),
      { numRuns: 8 },
    );
  });
});
