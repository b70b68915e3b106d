import { encodeMarker, encodeRecordsBody, encodeSeal, encodeSyncStart, FrameCodec, FrameKind, isVolumeRecord, RecordType, type FrameHeader, type StreamRecord } from '@tidemark/frame';
import { BLOCK_BYTES, SECTOR_BYTES } from '@tidemark/base';
import type { IncarnationBegun } from '@tidemark/journal';
import { crc32c } from '@tidemark/link';
import type { Random } from '../random.js';
import { concat } from '../sim-host.js';

export interface ModelFrame {
  readonly header: FrameHeader;
  readonly body: Uint8Array;
  readonly records: readonly StreamRecord[];
}

export const ONE_JOURNAL = { vpgId: 'vpg1', vmId: 'vm1' };
const WRITE_SECTORS_MAX = 8;
const FRAME_RECORDS_MAX = 6;

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });

/** The sending side as a dumb model: disks of a guest, what was sent and not acknowledged yet, and the image at every marker. */
export class StreamModel {
  readonly disks: readonly Uint8Array[];
  /** Of every checkpoint that was ever marked. */
  readonly images = new Map<number, readonly Uint8Array[]>();
  #queue: { readonly seq: number; readonly record: StreamRecord }[] = [];
  #lastSeq = 0;
  #incarnation = 0;
  #lastCheckpoint = 0;
  #isSyncDue = true;
  /** Highest position that it was told to be durable. */
  ackedSeq = 0;

  constructor(private readonly random: Random, volumeBytes: readonly number[], readonly epoch: number) {
    this.disks = volumeBytes.map((bytes) => new Uint8Array(bytes));
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  acknowledged(seq: number): void {
    this.ackedSeq = Math.max(this.ackedSeq, seq);
    this.#queue = this.#queue.filter((each) => each.seq > seq);
  }

  /** The stream was opened: what is to be sent first. Positions that are gone, or another session in between: everything, as a sender decides it. */
  opened({ incarnation, durableSeq, lastSessionId, isBaseComplete }: IncarnationBegun, sessionId: string): ModelFrame[] {
    this.#incarnation = incarnation;
    const firstSeq = this.#queue[0]?.seq ?? this.#lastSeq + 1;
    const isWhole = !this.#isSyncDue && durableSeq >= this.ackedSeq && durableSeq <= this.#lastSeq && firstSeq <= durableSeq + 1 && lastSessionId === sessionId && isBaseComplete;
    if (isWhole) {
      this.acknowledged(durableSeq);
      return this.#framesOf(this.#queue.map(({ record }) => record), durableSeq + 1);
    }
    this.ackedSeq = durableSeq;
    this.#queue = [];
    this.#lastSeq = Math.max(durableSeq, this.#lastSeq);
    this.#isSyncDue = true;
    return this.#sync(isBaseComplete ? 'deltaSync' : 'initialSync', durableSeq);
  }

  /** Everything, with the guest's writes in between. */
  #sync(kind: 'deltaSync' | 'initialSync', durableSeq: number): ModelFrame[] {
    const frames: ModelFrame[] = [];
    if (this.#lastSeq > durableSeq) this.#lastSeq += 1; // a gap is legal in front of a syncStart
    const send = (...records: StreamRecord[]): void => void frames.push(...this.#new(records));
    send(mark(RecordType.syncStart, encodeSyncStart({ kind, reason: 'simulation' })));
    this.disks.forEach((disk, volume) => {
      for (let offset = 0; offset < disk.byteLength; offset += BLOCK_BYTES) {
        if (this.random.chance(0.3)) send(...this.#writes());
        send({ type: RecordType.syncWrite, volume, offset, length: BLOCK_BYTES, payload: disk.slice(offset, offset + BLOCK_BYTES) });
      }
    });
    send(mark(RecordType.syncEnd));
    this.#isSyncDue = false;
    return frames;
  }

  /** Some writes of the guest, and now and then a checkpoint behind them. */
  next(): ModelFrame[] {
    const records = this.#writes();
    if (this.random.chance(0.4)) records.push(...this.#checkpoint());
    return this.#new(records);
  }

  #writes(): StreamRecord[] {
    return Array.from({ length: 1 + this.random.int(FRAME_RECORDS_MAX) }, () => this.#write());
  }

  #write(): StreamRecord {
    const volume = this.random.int(this.disks.length);
    const disk = this.disks[volume] ?? new Uint8Array();
    const sectors = disk.byteLength / SECTOR_BYTES;
    const first = this.random.int(sectors);
    const length = SECTOR_BYTES * (1 + this.random.int(Math.min(WRITE_SECTORS_MAX, sectors - first)));
    const payload = this.random.chance(0.1) ? undefined : new Uint8Array(length).fill(1 + this.random.int(255));
    const offset = first * SECTOR_BYTES;
    disk.set(payload ?? new Uint8Array(length), offset);
    return { type: payload === undefined ? RecordType.zeroes : RecordType.write, volume, offset, length, payload };
  }

  #checkpoint(): StreamRecord[] {
    this.#lastCheckpoint += 1;
    const checkpointId = this.#lastCheckpoint;
    this.images.set(checkpointId, this.disks.map((disk) => disk.slice()));
    const { vpgId, vmId } = ONE_JOURNAL;
    const marker = encodeMarker({ vpgId, checkpointId, epoch: this.epoch, term: 1, vmIds: [vmId], atMs: 1, ageMs: 0, tag: null, kind: 'automatic' });
    return [mark(RecordType.marker, marker), mark(RecordType.seal, encodeSeal({ vpgId, checkpointId, term: 1 }))];
  }

  #new(records: readonly StreamRecord[]): ModelFrame[] {
    const frames = this.#framesOf(records, this.#lastSeq + 1);
    records.forEach((record, index) => this.#queue.push({ seq: this.#lastSeq + 1 + index, record }));
    this.#lastSeq += records.length;
    return frames;
  }

  #framesOf(records: readonly StreamRecord[], firstSeq: number): ModelFrame[] {
    const frames: ModelFrame[] = [];
    for (let at = 0; at < records.length; at += FRAME_RECORDS_MAX) frames.push(this.#frame(records.slice(at, at + FRAME_RECORDS_MAX), firstSeq + at));
    return frames;
  }

  #frame(records: readonly StreamRecord[], firstSeq: number): ModelFrame {
    const body = concat(encodeRecordsBody(records));
    const header: FrameHeader = {
      kind: FrameKind.records, stream: 1, incarnation: this.#incarnation, epoch: this.epoch, count: records.length, firstSeq, lastSeq: firstSeq + records.length - 1,
      bodyBytes: body.byteLength, rawBytes: body.byteLength, bodyCrc: crc32c(body), codec: FrameCodec.none,
    };
    return { header, body, records: records.map((record) => (isVolumeRecord(record.type) ? { ...record, payload: record.payload?.slice() } : record)) };
  }
}
