import { epochStepError, type JournalSnapshot } from '@tidemark/journal';
import { Receiver, type ReceiverEffect } from '@tidemark/replication';
import { Actor } from './wires.js';
import type { Truth } from './truth.js';
import type { World } from '../world.js';

export const REF = { vpgId: 'vpg', vmId: 'vm' };
const SIZES = [4096];
const SNAPSHOT: JournalSnapshot = {
  epoch: 1, reservedEpoch: null, highestEpoch: 1, isEnded: false, incarnation: 0, sessionId: null, isBaseComplete: true, sync: 'idle', lastSeq: 0, appliedSeq: 0, retiredSeq: 0,
  promotion: null, brokenReason: null, volumes: [],
};

export type Opening = { readonly isOpen: true; readonly connection: number } | { readonly isOpen: false; readonly isFenced: boolean };

/** A recovering VRA: the real receiver, the real rules for epochs, and a journal of which only the ownership is kept, durably. */
export class RecoveringVra extends Actor {
  journal: JournalSnapshot = SNAPSHOT;
  /** Taken over: it refuses streams as if a newer epoch were in force. */
  isLying = false;
  #receiver = this.#newReceiver();
  #connection = 0;

  constructor(name: string, world: World, private readonly truth: Truth) {
    super(name, world);
  }

  begin(): void {
    this.#receiver = this.#newReceiver();
  }

  protected forget(): void {
    this.#connection += 1;
  }

  #newReceiver(): Receiver {
    const receiver = new Receiver({ ...REF, epoch: this.journal.epoch, volumeSizesBytes: SIZES });
    const effects: ReceiverEffect[] = [];
    receiver.journalState('ready', effects);
    if (this.journal.isEnded) receiver.end(effects);
    return receiver;
  }

  /** Throws what the journal answers. */
  step(step: 'reserveEpoch' | 'commitEpoch' | 'burnEpoch', epoch: number): void {
    const error = epochStepError(step, epoch, this.journal);
    if (error) throw error;
    const { highestEpoch, reservedEpoch } = this.journal;
    if (step === 'reserveEpoch') this.journal = { ...this.journal, reservedEpoch: epoch, highestEpoch: Math.max(epoch, highestEpoch) };
    else if (step === 'burnEpoch') {
      if (reservedEpoch !== null) this.truth.burned.add(reservedEpoch);
      this.journal = { ...this.journal, reservedEpoch: null };
    } else if (!this.journal.isEnded) this.#commit(epoch);
  }

  #commit(epoch: number): void {
    this.journal = { ...this.journal, epoch, reservedEpoch: null, isEnded: true };
    const effects: ReceiverEffect[] = [];
    this.#receiver.setEpoch(epoch, effects);
    this.#receiver.end(effects);
  }

  /** A protecting VRA opens its stream. */
  open(epoch: number): Opening {
    if (this.isLying) return { isOpen: false, isFenced: true };
    this.#connection += 1;
    const connection = this.#connection;
    const request = { ...REF, epoch, sessionId: `s${connection}`, volumes: SIZES, firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
    const effects: ReceiverEffect[] = [];
    this.#receiver.open(connection, request, effects);
    for (const effect of [...effects]) {
      if (effect.kind === 'sendRefused') return { isOpen: false, isFenced: effect.reply.code === 'fenced' };
      if (effect.kind === 'beginIncarnation') {
        this.#receiver.incarnationBegan({ openId: effect.openId, isBegun: true, incarnation: connection, durableSeq: 0, lastSessionId: null, isBaseComplete: true }, effects);
      }
    }
    return { isOpen: true, connection };
  }

  /** False: the stream is not open any more. */
  write(connection: number, epoch: number): boolean {
    if (this.isLying) return false;
    const status = this.#receiver.status();
    if (status.state !== 'open' || status.connection !== connection) return false;
    this.truth.streamTook(epoch, this);
    return true;
  }
}
