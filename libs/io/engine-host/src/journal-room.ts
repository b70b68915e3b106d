import { resumeBytesOf, roomAtLimit } from '@tidemark/checkpoint';
import { bytesToFree, creditBytesFor, type RecoveryLimits } from './space-limits.js';

export interface JournalRoomSurroundings {
  /** They may change at any time. */
  limits(): Pick<RecoveryLimits, 'journalHardBytes'>;
  journalBytes(): number;
  /** Received and not durable. */
  pendingBytes(): number;
  /** What the datastore's guard leaves. */
  datastoreRoomBytes(): number;
}

/** What one journal may still take, by its hard limit and by the guard of its datastore. */
export class JournalRoom {
  /** Of the frame that is being appended: it is received, and not among what comes before it. */
  #appendingBytes = 0;
  /** What the frame needs that the journal had no room for; 0: there is none. */
  #neededBytes = 0;

  constructor(private readonly around: JournalRoomSurroundings) {}

  get #limitRoomBytes(): number {
    const { journalHardBytes: hardBytes } = this.around.limits();
    if (hardBytes === null) return Infinity;
    return roomAtLimit({ hardBytes, journalBytes: this.around.journalBytes(), pendingBytes: this.around.pendingBytes() - this.#appendingBytes });
  }

  get #resumeBytes(): number {
    return resumeBytesOf({ creditBytes: creditBytesFor(this.around.limits().journalHardBytes), neededBytes: this.#neededBytes });
  }

  /** For a frame that comes now. */
  get bytes(): number {
    return Math.min(this.around.datastoreRoomBytes(), this.#limitRoomBytes);
  }

  /** What stands in the way of more frames, if something does, is the journal's own limit. */
  get isAtHardLimit(): boolean {
    return this.#limitRoomBytes < this.#resumeBytes;
  }

  /** Of a full journal: it may take frames again. */
  get canResume(): boolean {
    return this.bytes >= this.#resumeBytes;
  }

  /** Bytes of its oldest history that it should give up now; 0: none. */
  wantedBytes(isFull: boolean): number {
    const { journalHardBytes: hardBytes } = this.around.limits();
    return bytesToFree({ journalBytes: this.around.journalBytes(), hardBytes, isFull: isFull && this.isAtHardLimit, neededBytes: this.#neededBytes });
  }

  /** A frame of so many bytes, received before, is appended by `append`. */
  append(rawBytes: number, append: () => void): void {
    this.#appendingBytes = rawBytes;
    try {
      append();
    } finally {
      this.#appendingBytes = 0;
    }
  }

  /** Said while the frame that did not fit is being appended. */
  becameFull(): void {
    this.#neededBytes = this.#appendingBytes;
  }

  opened(): void {
    this.#neededBytes = 0;
  }
}
