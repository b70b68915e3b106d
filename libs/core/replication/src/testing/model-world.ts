import { BLOCK_BYTES } from '@tidemark/base';
import { decodeRecords, encodeRecordsFrame, FrameDecoder, type CheckpointMarker, type OpenRequest } from '@tidemark/frame';
import { MemoryBudget, Receiver, Sender, type EarlierSession, type ReceiverEffect, type SyncCompare, type SyncRead, type VolumeExtent } from '../index.js';
import { ModelHost } from './model-host.js';
import { copyImage, isSameImage, ModelJournal, type Image } from './model-journal.js';

const SIZES = [6 * BLOCK_BYTES, 2 * BLOCK_BYTES + 700];
const VPG = 'vpg';
const VM = 'vm';
const FRAME_BYTES = 20_000;
const CREDIT_BYTES = 40_000;

/** Enough where nothing damages bytes. */
const sum = (bytes: Uint8Array, previous = 0): number => previous + bytes.length;

type ToReceiver = { readonly stream: number } & ({ readonly open: OpenRequest } | { readonly bytes: Uint8Array });
interface ToSender {
  readonly stream: number;
  readonly tell: (sender: Sender) => void;
}

/** One TCP connection: both directions keep order; after a cut each end learns of it on its own, and what was under way may still arrive at the receiver. */
interface Connection {
  readonly toReceiver: ToReceiver[];
  readonly toSender: ToSender[];
  isCut: boolean;
}

interface RunningRead {
  readonly read: SyncRead;
  bytes: Uint8Array | undefined;
}

/** Both sides read when they get to it; the verdict is given later. */
interface RunningCompare {
  readonly compare: SyncCompare & { readonly atSeq: number };
  local: Uint8Array | undefined;
  remote: Uint8Array | undefined;
}

export interface WorldOptions {
  readonly budgetBytes: number;
  /** The mirrors begin with bytes of their own. */
  readonly isPreseeded?: boolean;
}

export class ModelWorld {
  readonly host = new ModelHost(SIZES);
  readonly journal = new ModelJournal(SIZES);
  readonly #budget: MemoryBudget;
  sender: Sender;
  #receiver: Receiver;
  readonly #receiverEffects: ReceiverEffect[] = [];
  readonly #connections: Connection[] = [];
  readonly #streams = new Map<number, Connection>();
  /** The connection that the sender uses. */
  #current: Connection | undefined;
  /** Number of the newest `open`; messages about older streams find nobody. */
  #stream = 0;
  #sessions = 0;
  #reads: RunningRead[] = [];
  #compares: RunningCompare[] = [];
  /** An activity log: blocks that may differ from the recovery side; undefined: nobody knows. */
  #suspects: Map<string, VolumeExtent> | undefined;
  readonly #isPreseeded: boolean;
  equalBlockCount = 0;
  readonly #begins: { openId: number; sessionId: string }[] = [];
  #openCheckpoint: CheckpointMarker | undefined;
  readonly expectedAtMarker = new Map<number, Image>();
  readonly problems: string[] = [];
  markerCount = 0;

  constructor(options: WorldOptions) {
    this.#budget = new MemoryBudget(options.budgetBytes);
    this.#isPreseeded = options.isPreseeded ?? false;
    if (this.#isPreseeded) for (const bytes of this.journal.image) bytes.fill(0x77, BLOCK_BYTES);
    this.sender = this.#newSender(undefined);
    this.#receiver = this.#newReceiver();
  }

  #newSender(earlier: EarlierSession | undefined): Sender {
    this.#sessions += 1;
    const sender = new Sender({
      vpgId: VPG, vmId: VM, epoch: 1, sessionId: `s${this.#sessions}`, volumeSizesBytes: SIZES, budget: this.#budget.share(), fence: this.host.splitter,
      ...(earlier && { earlier }),
    });
    this.host.splitter.addSink('p', sender);
    return sender;
  }

  #newReceiver(): Receiver {
    const receiver = new Receiver({ vpgId: VPG, vmId: VM, epoch: 1, volumeSizesBytes: SIZES, isPreseeded: this.#isPreseeded, creditBytesMax: CREDIT_BYTES, budget: new MemoryBudget(CREDIT_BYTES).share() });
    receiver.journalState('ready', this.#receiverEffects);
    return receiver;
  }

  write(volume: number, at: number, length: number, fill: number): void {
    const size = SIZES[volume] ?? 0;
    const offset = at % size;
    const bytes = Math.min(length, size - offset);
    const payload = fill === 0 ? undefined : new Uint8Array(bytes).fill(fill);
    this.#suspect(volume, offset, offset + bytes);
    this.host.write({ volume, offset, length: bytes, payload });
  }

  connect(): void {
    if (!this.sender.wantsOpen) return;
    // An overflow reopens on the same connection, a cut needs a new one.
    if (this.#current === undefined || this.#current.isCut) {
      this.#current = { toReceiver: [], toSender: [], isCut: false };
      this.#connections.push(this.#current);
    }
    this.#stream += 1;
    this.#streams.set(this.#stream, this.#current);
    this.#current.toReceiver.push({ stream: this.#stream, open: this.sender.openRequest() });
  }

  pullFrame(): void {
    const frame = this.sender.nextFrame(FRAME_BYTES);
    if (frame === undefined) return;
    const { incarnation, epoch, firstSeq, records } = frame;
    const chunks = encodeRecordsFrame({ stream: 1, incarnation, epoch, firstSeq }, records, sum);
    this.#current?.toReceiver.push({ stream: this.#stream, bytes: concat(chunks) });
  }

  /** The oldest message of some connection reaches the receiver. */
  deliverToReceiver(pick: number): void {
    const waiting = this.#connections.filter((connection) => connection.toReceiver.length > 0);
    const connection = waiting[pick % Math.max(1, waiting.length)];
    const message = connection?.toReceiver.shift();
    if (message === undefined) return;
    if ('open' in message) this.#receiver.open(message.stream, message.open, this.#receiverEffects);
    else this.#receiveFrame(message.stream, message.bytes);
    this.#drainReceiver();
  }

  #receiveFrame(stream: number, bytes: Uint8Array): void {
    new FrameDecoder({ crc32c: sum }).feed(bytes, (header, body) => {
      this.#receiver.frame(stream, header, decodeRecords(header, body), this.#receiverEffects);
    });
  }

  deliverToSender(): void {
    const connection = this.#current;
    if (connection === undefined || connection.isCut) return;
    const message = connection.toSender.shift();
    if (message?.stream === this.#stream) message.tell(this.sender);
  }

  #drainReceiver(): void {
    for (const effect of this.#receiverEffects.splice(0)) this.#carryOut(effect);
  }

  #carryOut(effect: ReceiverEffect): void {
    switch (effect.kind) {
      case 'beginIncarnation':
        this.#begins.push({ openId: effect.openId, sessionId: effect.sessionId });
        return;
      case 'append':
        this.journal.append(effect.header.incarnation, effect.header.firstSeq, effect.records);
        return;
      case 'closeStream':
        return this.#answer(effect.connection, (sender) => sender.linkDown());
      case 'sendOpened':
        return this.#answer(effect.connection, (sender) => sender.opened(effect.reply));
      case 'sendRefused':
        return this.#answer(effect.connection, (sender) => sender.refused(effect.reply));
      case 'sendAck': {
        const { durableSeq, creditBytes } = effect;
        return this.#answer(effect.connection, (sender) => sender.acked({ durableSeq, creditBytes }));
      }
    }
  }

  #answer(stream: number, tell: ToSender['tell']): void {
    const connection = this.#streams.get(stream);
    if (connection?.isCut === false) connection.toSender.push({ stream, tell });
  }

  /** The journal answers the oldest `beginIncarnation`; of what is pending, some became durable, the rest never will. */
  begin(pick: number): void {
    const begin = this.#begins.shift();
    if (begin === undefined) return;
    this.journal.commit(pick % (this.journal.pending.length + 1));
    this.journal.pending = [];
    this.journal.incarnation += 1;
    const { incarnation, durableSeq, sessionId: lastSessionId, isBaseComplete } = this.journal;
    this.journal.sessionId = begin.sessionId;
    this.#receiver.incarnationBegan({ openId: begin.openId, isBegun: true, incarnation, durableSeq, lastSessionId, isBaseComplete }, this.#receiverEffects);
    this.#drainReceiver();
  }

  commit(pick: number): void {
    this.journal.commit(1 + (pick % Math.max(1, this.journal.pending.length)));
    this.#receiver.durable(this.journal.durableSeq, this.#receiverEffects);
    this.#receiver.tick(this.#receiverEffects);
    this.#drainReceiver();
  }

  /** The sender's end notices at once; the receiver's end may still get `late` messages. */
  cut(late: number): void {
    const connection = this.#current;
    if (connection === undefined || connection.isCut) return;
    connection.isCut = true;
    connection.toReceiver.splice(late % (connection.toReceiver.length + 1));
    connection.toSender.length = 0;
    this.sender.linkDown();
  }

  startRead(): void {
    const read = this.sender.nextSyncRead();
    if (read !== undefined) this.#reads.push({ read, bytes: undefined });
  }

  performRead(pick: number): void {
    const running = this.#reads[pick % Math.max(1, this.#reads.length)];
    if (running !== undefined) running.bytes = this.#diskBytes(running.read);
  }

  endRead(pick: number, isOk: boolean): void {
    const [running] = this.#reads.splice(pick % Math.max(1, this.#reads.length), 1);
    if (running === undefined) return;
    const bytes = running.bytes ?? this.#diskBytes(running.read);
    if (!isOk) this.sender.syncReadFailed(running.read.readId);
    else this.sender.syncReadDone(running.read.readId, bytes.every((byte) => byte === 0) ? 'zeroes' : bytes);
  }

  /** Marked before the write goes anywhere, as a log on disk would be. */
  #suspect(volume: number, start: number, end: number): void {
    for (let at = start - (start % BLOCK_BYTES); at < end; at += BLOCK_BYTES) {
      this.#suspects?.set(`${volume} ${at}`, { volume, start: at, end: Math.min(at + BLOCK_BYTES, SIZES[volume] ?? 0) });
    }
  }

  startCompare(): void {
    const compare = this.sender.nextCompare();
    if (compare !== undefined) this.#compares.push({ compare, local: undefined, remote: undefined });
  }

  hashLocal(pick: number): void {
    const running = this.#compares[pick % Math.max(1, this.#compares.length)];
    if (running !== undefined) running.local ??= this.#diskBytes(running.compare);
  }

  /** The head: what is durable now, which must reach as far as was asked for. */
  hashRemote(pick: number): void {
    const running = this.#compares[pick % Math.max(1, this.#compares.length)];
    // Hashed once: the answer stands, whatever becomes of the journal after it.
    if (running === undefined || running.remote !== undefined) return;
    const { volume, offset, length, atSeq } = running.compare;
    if (this.journal.durableSeq < atSeq) this.problems.push('compared with a head that is too old');
    running.remote = this.journal.image[volume]?.slice(offset, offset + length);
  }

  endCompare(pick: number, isOk: boolean): void {
    const index = pick % Math.max(1, this.#compares.length);
    this.hashRemote(index);
    this.hashLocal(index);
    const [running] = this.#compares.splice(index, 1);
    if (running === undefined) return;
    if (!isOk) {
      this.sender.compareFailed(running.compare.compareId);
      return;
    }
    const equal = equalBlocksOf(running.local ?? new Uint8Array(), running.remote ?? new Uint8Array());
    this.equalBlockCount += equal.reduce((total, each) => total + each, 0);
    this.sender.compared(running.compare.compareId, equal);
  }

  forceSync(): void {
    this.sender.forceSync();
  }

  #diskBytes({ volume, offset, length }: Omit<SyncRead, 'readId'>): Uint8Array {
    return this.host.disk[volume]?.slice(offset, offset + length) ?? new Uint8Array();
  }

  placeMarker(): void {
    const checkpointId = this.expectedAtMarker.size + 1;
    const marker: CheckpointMarker = {
      vpgId: VPG, checkpointId, epoch: 1, term: 1, vmIds: [VM], atMs: 0, ageMs: 0, tag: null, kind: 'automatic',
    };
    this.host.hold();
    this.expectedAtMarker.set(checkpointId, copyImage(this.host.captured));
    if (this.sender.placeMarker(marker)) this.#openCheckpoint = marker;
    else this.host.release();
  }

  placeSeal(): void {
    const marker = this.#openCheckpoint;
    if (marker === undefined) return;
    this.#openCheckpoint = undefined;
    this.sender.placeSeal({ vpgId: VPG, checkpointId: marker.checkpointId, term: marker.term });
    this.host.release();
  }

  /** The recovering VRA dies and comes back: only what is durable is left. */
  crashReceiver(): void {
    this.journal.pending = [];
    this.#begins.length = 0;
    this.#receiverEffects.length = 0;
    for (const connection of this.#connections) connection.toReceiver.length = 0;
    this.cut(0);
    this.#receiver = this.#newReceiver();
  }

  /** The recovery site loses data that it has acknowledged. */
  loseDurable(pick: number): void {
    const { ackedSeq } = this.sender.status();
    if (ackedSeq === 0) return;
    this.crashReceiver();
    // What it was asked and had not answered died with it.
    this.#compares = this.#compares.filter(({ remote }) => remote !== undefined);
    this.journal.durableSeq = Math.max(0, ackedSeq - 1 - (pick % 5));
    for (const bytes of this.journal.image) bytes.fill(0xee, 0, BLOCK_BYTES + (pick % 3) * BLOCK_BYTES);
    this.#suspects = undefined;
  }

  /** The protecting VRA dies and comes back as a new capture session. */
  crashSender(): void {
    this.cut(0);
    const { ackedSeq } = this.sender.status();
    const earlier = this.#suspects && { sessionId: `s${this.#sessions}`, ackedSeq, suspects: [...this.#suspects.values()] };
    this.sender.close();
    this.#reads = [];
    this.#compares = [];
    this.#openCheckpoint = undefined;
    this.host.restart();
    this.sender = this.#newSender(earlier);
  }

  setFull(isFull: boolean): void {
    this.#receiver.journalState(isFull ? 'full' : 'ready', this.#receiverEffects);
    this.#drainReceiver();
  }

  refuseOnce(): void {
    this.#receiver.journalState('opening', this.#receiverEffects);
    this.#receiver.journalState('ready', this.#receiverEffects);
    this.#drainReceiver();
  }

  /** What must hold at any time. */
  check(): void {
    const status = this.sender.status();
    if (status.lagBytes === 0 && status.state === 'replicating' && status.sync === null && this.host.localCount === 0) this.#suspects = new Map();
    if (status.lagBytes === 0 && status.state === 'replicating' && !isSameImage(this.journal.image, this.host.captured)) {
      this.problems.push('lag 0 and another image');
    }
    if (this.#budget.usedBytes > this.#budget.limitBytes) this.problems.push('budget exceeded');
    for (const [checkpointId, image] of this.journal.atMarker) {
      this.markerCount += 1;
      const expected = this.expectedAtMarker.get(checkpointId);
      if (expected === undefined || !isSameImage(image, expected)) this.problems.push(`image at checkpoint ${checkpointId} is not the prefix`);
    }
    this.journal.atMarker.clear();
    this.problems.push(...this.journal.problems.splice(0));
  }

  /** A round of everything that goes by itself, but for the guest's writes and the journal. */
  advance(pick: number): void {
    this.connect();
    this.deliverToReceiver(0);
    this.begin(pick);
    this.deliverToSender();
    this.startCompare();
    this.endCompare(0, true);
    this.startRead();
    this.endRead(0, true);
    this.pullFrame();
  }

  /** Faults have stopped: everything goes on until nothing is left to do. Returns whether lag reached zero. */
  settle(): boolean {
    this.setFull(false);
    for (let round = 0; round < 3000; round += 1) {
      this.placeSeal();
      while (this.host.localCount > 0) this.host.endLocal(0, true);
      this.sender.retrySyncReads();
      this.advance(round);
      this.commit(round);
      this.check();
      const { lagBytes, state, sync } = this.sender.status();
      if (lagBytes === 0 && state === 'replicating' && sync === null && this.#isQuiet()) return true;
    }
    return false;
  }

  #isQuiet(): boolean {
    return this.#connections.every((connection) => connection.toReceiver.length === 0) && this.journal.pending.length === 0;
  }
}

function equalBlocksOf(local: Uint8Array, remote: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: Math.ceil(local.length / BLOCK_BYTES) }, (_, block) => {
    const other = remote.subarray(block * BLOCK_BYTES);
    return local.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES).every((byte, i) => byte === other[i]) ? 1 : 0;
  });
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
