import { assert, ProtocolError, unreachable } from '@tidemark/base';
import {
  checkInsideVolume, decodeMarker, decodeSeal, decodeSyncStart, isVolumeRecord, RecordType, type FrameHeader, type RefusedCode, type StreamRecord,
} from '@tidemark/frame';
import { CREDIT_BYTES_MAX, ReceiveWindow } from './receive-window.js';
import { nextReceiverState, type ReceiverEvent, type ReceiverState } from './receiver-states.js';
import type { ConnectionId, IncarnationResult, JournalState, OpenRequest, ReceiverEffect, ReceiverOptions, ReceiverStatus } from './types.js';

/**
 * The recovering end of one stream: lets one connection at a time in, fences older ones, takes records without a gap and within the
 * credit, and acknowledges what the journal has made durable, never earlier.
 *
 * Invariant: durableSeq <= receivedSeq; what is acknowledged is durable.
 */
export class Receiver {
  readonly #options: ReceiverOptions;
  #epoch: number;
  #isEnded = false;
  #journal: JournalState = 'opening';
  #state: ReceiverState = 'closed';
  #connection: ConnectionId | null = null;
  /** Tells the answer to the newest `beginIncarnation` from older ones. */
  #openId = 0;
  #incarnation = 0;
  #isFirstFrame = true;
  #receivedSeq = 0;
  #durableSeq = 0;
  readonly #newWindow: () => ReceiveWindow;
  #window: ReceiveWindow;
  /** As the sender was told last. */
  #creditBytes = 0;
  #basisId: string | undefined;
  /** In force for the stream that is open. */
  #volumeSizesBytes: readonly number[];
  /** What a stream may open with, too. */
  #offeredSizesBytes: readonly number[];

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#newWindow = () => new ReceiveWindow(options.creditBytesMax ?? CREDIT_BYTES_MAX, options.budget);
    this.#window = this.#newWindow();
    this.#epoch = options.epoch;
    this.#volumeSizesBytes = options.volumeSizesBytes;
    this.#offeredSizesBytes = options.volumeSizesBytes;
  }

  /** The mirrors are this image, and nobody has written to them since. To be said before the first `open`. */
  proveBasis(basisId: string): void {
    this.#basisId = basisId;
  }

  get volumeSizesBytes(): readonly number[] {
    return this.#volumeSizesBytes;
  }

  /** What the journal says is in force; before the first `open`. */
  beginVolumes(sizesBytes: readonly number[]): void {
    this.#volumeSizesBytes = sizesBytes;
  }

  /** Volumes were added, grown or removed: a stream may open with these from now on. One that is open goes on as it is. */
  offerVolumes(sizesBytes: readonly number[]): void {
    this.#offeredSizesBytes = sizesBytes;
  }

  /** A sender asks. It is refused, or the older stream is closed and a new incarnation begun. */
  open(connection: ConnectionId, request: OpenRequest, effects: ReceiverEffect[]): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      effects.push({ kind: 'sendRefused', connection, reply: { code: refusal[0], message: refusal[1] } });
      return;
    }
    if (this.#connection !== null && this.#connection !== connection) effects.push({ kind: 'closeStream', connection: this.#connection });
    this.#turn('openTaken');
    this.#connection = connection;
    this.#openId += 1;
    const { epoch, sessionId, ackedSeq } = request;
    this.#volumeSizesBytes = request.volumes;
    effects.push({ kind: 'beginIncarnation', openId: this.#openId, epoch, sessionId, ackedSeq, volumeSizesBytes: request.volumes });
  }

  /** The journal's answer. One that belongs to an `open` which is no longer wanted is passed over. */
  incarnationBegan(result: IncarnationResult, effects: ReceiverEffect[]): void {
    if (result.openId !== this.#openId || this.#state !== 'opening' || this.#connection === null) return;
    const connection = this.#connection;
    if (!result.isBegun) {
      this.#turn('incarnationFailed');
      this.#connection = null;
      effects.push({ kind: 'sendRefused', connection, reply: { code: 'notReady', message: result.message } });
      return;
    }
    this.#turn('incarnationBegan');
    this.#incarnation = result.incarnation;
    this.#durableSeq = result.durableSeq;
    this.#receivedSeq = result.durableSeq;
    this.#isFirstFrame = true;
    this.#window.clear();
    this.#window = this.#newWindow();
    const { incarnation, durableSeq, lastSessionId, isBaseComplete, copyingVolumes = [], newestCheckpointId = 0 } = result;
    const isPreseeded = this.#options.isPreseeded ?? false;
    effects.push({ kind: 'sendOpened', connection, reply: { incarnation, durableSeq, lastSessionId, isBaseComplete, isPreseeded, copyingVolumes, creditBytes: this.#grant(), newestCheckpointId, ...(this.#basisId !== undefined && { basisId: this.#basisId }) } });
  }

  /**
   * A records frame, decompressed and decoded by the host. From an older connection it is dropped, and that stream closed once more. Throws
   * ProtocolError: the host closes the connection.
   */
  frame(connection: ConnectionId, header: FrameHeader, records: readonly StreamRecord[], effects: ReceiverEffect[]): void {
    if (connection !== this.#connection) {
      effects.push({ kind: 'closeStream', connection });
      return;
    }
    if (this.#state !== 'open') throw new ProtocolError('PROTOCOL_ORDER', 'records before the stream is open');
    this.#checkHeader(header, records);
    for (const record of records) this.#checkRecord(header, record);
    if (!this.#window.received({ lastSeq: header.lastSeq, rawBytes: header.rawBytes })) {
      effects.push({ kind: 'closeStream', connection });
      this.#close();
      return;
    }
    this.#isFirstFrame = false;
    this.#receivedSeq = header.lastSeq;
    effects.push({ kind: 'append', header, records });
  }

  /** The journal is durable up to `seq`: now, and only now, the sender may forget. */
  durable(seq: number, effects: ReceiverEffect[]): void {
    // Credit is counted in whole frames on both sides, so acks lie between frames.
    const durableSeq = this.#window.durable(seq);
    if (this.#state !== 'open' || this.#connection === null) return;
    assert(seq <= this.#receivedSeq, 'durable is what was received');
    if (durableSeq === undefined) return;
    this.#durableSeq = durableSeq;
    this.#acknowledge(this.#connection, effects);
  }

  /** Every second or so: a stream that became quiet is told a lower credit, one that waits for memory a higher one. */
  tick(effects: ReceiverEffect[]): void {
    this.#window.tick();
    if (this.#state !== 'open' || this.#connection === null) return;
    const before = this.#creditBytes;
    const creditBytes = this.#grant();
    if (creditBytes !== before) effects.push({ kind: 'sendAck', connection: this.#connection, durableSeq: this.#durableSeq, creditBytes });
  }

  connectionLost(connection: ConnectionId): void {
    if (connection === this.#connection) this.#close();
  }

  journalState(state: JournalState, effects: ReceiverEffect[]): void {
    if (state === this.#journal) return;
    this.#journal = state;
    if (this.#connection === null) return;
    switch (state) {
      case 'ready':
      case 'full':
        if (this.#state === 'open') this.#acknowledge(this.#connection, effects);
        return;
      case 'opening':
        this.#refuse('notReady', 'the journal is being opened', effects);
        return;
      case 'broken':
        this.#refuse('notReady', 'the journal is broken', effects);
        return;
      default:
        unreachable(state);
    }
  }

  /** Frames given to `append` were lost before they were durable: the stream is closed, and the sender resumes from the durable position. */
  appendsLost(effects: ReceiverEffect[]): void {
    this.#window.clear();
    if (this.#connection === null) return;
    effects.push({ kind: 'closeStream', connection: this.#connection });
    this.#close();
  }

  /** Ownership has moved on: a stream of an older epoch is closed and refused from now on. */
  setEpoch(epoch: number, effects: ReceiverEffect[]): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#refuse('fenced', `epoch ${epoch} is in force`, effects);
  }

  /**
   * The protection has ended here (failover committed, recovery removed): nothing is taken any more. That alone fences nobody: a VPG that is deleted hands no
   * ownership on. A commit has set a newer epoch before, which does.
   */
  end(effects: ReceiverEffect[]): void {
    this.#isEnded = true;
    this.#refuse('unknown', 'the protection has ended', effects);
  }

  /** Gives the memory back; the journal is closed, and no other call follows but late reports. */
  close(): void {
    this.#window.clear();
    this.#options.budget?.close();
  }

  status(): ReceiverStatus {
    return {
      state: this.#state,
      connection: this.#connection,
      incarnation: this.#incarnation,
      receivedSeq: this.#receivedSeq,
      durableSeq: this.#durableSeq,
      pendingBytes: this.#window.pendingBytes,
    };
  }

  #refusalOf(request: OpenRequest): readonly [RefusedCode, string] | undefined {
    const { vpgId, vmId } = this.#options;
    if (request.vpgId !== vpgId || request.vmId !== vmId) return ['unknown', 'no such protection'];
    if (request.epoch < this.#epoch) return ['fenced', `epoch ${this.#epoch} is in force`];
    if (this.#isEnded) return ['unknown', 'the protection has ended'];
    if (request.epoch > this.#epoch) return ['notReady', `epoch ${request.epoch} is not known here yet`];
    if (!isSameList(request.volumes, this.#volumeSizesBytes) && !isSameList(request.volumes, this.#offeredSizesBytes)) {
      return ['notReady', `volumes of ${request.volumes.join(', ')} bytes, the mirrors have ${this.#offeredSizesBytes.join(', ')}`];
    }
    if (this.#journal === 'opening') return ['notReady', 'the journal is being opened'];
    if (this.#journal === 'broken') return ['notReady', 'the journal is broken'];
    return undefined;
  }

  #checkHeader(header: FrameHeader, records: readonly StreamRecord[]): void {
    if (header.incarnation !== this.#incarnation) {
      throw new ProtocolError('PROTOCOL_ORDER', `frame of incarnation ${header.incarnation}, open is ${this.#incarnation}`);
    }
    if (header.epoch !== this.#epoch) throw new ProtocolError('PROTOCOL_ORDER', `frame of epoch ${header.epoch}, in force is ${this.#epoch}`);
    if (header.firstSeq === this.#receivedSeq + 1) return;
    // Numbers may jump upwards at the start of an incarnation, and only to a sync: what is in between was dropped into its bitmap.
    const isJump = this.#isFirstFrame && header.firstSeq > this.#receivedSeq && records[0]?.type === RecordType.syncStart;
    if (!isJump) throw new ProtocolError('PROTOCOL_ORDER', `frame starts at ${header.firstSeq}, expected ${this.#receivedSeq + 1}`);
  }

  #checkRecord(header: FrameHeader, record: StreamRecord): void {
    if (isVolumeRecord(record.type)) {
      checkInsideVolume(record, this.#volumeSizesBytes);
    } else if (record.type === RecordType.marker) {
      const marker = decodeMarker(record.payload ?? new Uint8Array());
      const isOurs = marker.vpgId === this.#options.vpgId && marker.epoch === header.epoch && marker.vmIds.includes(this.#options.vmId);
      if (!isOurs) throw new ProtocolError('PROTOCOL_LAYOUT', 'marker of another VPG, epoch or VM');
    } else if (record.type === RecordType.seal) {
      const seal = decodeSeal(record.payload ?? new Uint8Array());
      if (seal.vpgId !== this.#options.vpgId) throw new ProtocolError('PROTOCOL_LAYOUT', 'seal of another VPG');
    } else if (record.type === RecordType.syncStart) {
      decodeSyncStart(record.payload ?? new Uint8Array());
    }
  }

  #acknowledge(connection: ConnectionId, effects: ReceiverEffect[]): void {
    effects.push({ kind: 'sendAck', connection, durableSeq: this.#durableSeq, creditBytes: this.#grant() });
  }

  /** What the sender is told to be its credit now. */
  #grant(): number {
    this.#creditBytes = this.#journal === 'full' ? 0 : this.#window.grant();
    return this.#creditBytes;
  }

  #refuse(code: RefusedCode, message: string, effects: ReceiverEffect[]): void {
    if (this.#connection === null) return;
    effects.push({ kind: 'sendRefused', connection: this.#connection, reply: { code, message } });
    this.#close();
  }

  #close(): void {
    this.#window.close();
    this.#turn('closed');
    this.#connection = null;
    this.#openId += 1;
  }

  #turn(event: ReceiverEvent): void {
    this.#state = nextReceiverState(this.#state, event);
  }
}

const isSameList = (a: readonly number[], b: readonly number[]): boolean => a.length === b.length && a.every((value, index) => value === b[index]);
