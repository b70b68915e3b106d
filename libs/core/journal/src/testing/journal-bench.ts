import { assert, unreachable } from '@tidemark/base';
import { type FrameHeader, FrameCodec, FrameKind, encodeRecordsBody, type StreamRecord } from '@tidemark/frame';
import { decodeJournalRecord } from '../codec.js';
import { ImageMap } from '../image-map.js';
import { Journal } from '../journal.js';
import { JOURNAL_RECORD_HEADER_BYTES } from '../layout.js';
import { JournalRecovery, type RecoveredJournal } from '../recovery.js';
import { replaySegment } from '../replay.js';
import { decodePlaced } from '../kept-frame.js';
import type { FramePlace, HeldCheckpoint, IncarnationBegun, JournalCommand, JournalCompletion, JournalEffect, StorageFailure } from '../types.js';
import type { VolumeWish } from '../volume-set.js';
import { crc32cTable } from '@tidemark/base/testing';
import type { JournalDisk, Random } from './journal-disk.js';

export const IDENTITY = { vpgId: 'vpg-1', vmId: 'vm-1' };

type FileEffect = Extract<JournalEffect, { readonly type: 'append' | 'sync' | 'createSegment' | 'truncateSegment' | 'removeSegment' | 'mirrorWrite' | 'mirrorReplay' | 'mirrorSync' }>;
type WithoutRequest<T> = T extends JournalCommand ? Omit<T, 'request'> : never;

/** Decides whether an effect fails. */
export type FaultPlan = (effect: FileEffect) => StorageFailure | undefined;

/** A frame as the receiver hands it over. */
export interface TestFrame {
  readonly header: FrameHeader;
  readonly body: Uint8Array;
  readonly records: readonly StreamRecord[];
}

export function frameOf(records: readonly StreamRecord[], place: { readonly firstSeq: number; readonly incarnation: number; readonly epoch: number }): TestFrame {
  const chunks = encodeRecordsBody(records);
  const body = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  const header: FrameHeader = {
    kind: FrameKind.records, stream: 1, ...place, count: records.length, lastSeq: place.firstSeq + records.length - 1, bodyBytes: body.byteLength,
    rawBytes: body.byteLength, bodyCrc: crc32cTable(body), codec: FrameCodec.none,
  };
  return { header, body, records };
}

/** A journal engine on a simulated disk: effects are carried out and answered when the test says so, in any order that lanes allow. */
export class JournalBench {
  journal: Journal;
  readonly recovered: RecoveredJournal;
  durableSeq = 0;
  readonly answers = new Map<number, { readonly answer?: IncarnationBegun | undefined; readonly error?: string }>();
  readonly states: string[] = [];
  nowMs = 1000;
  #effects: JournalEffect[] = [];
  #inFlight: FileEffect[] = [];
  /** Bytes in the file when a sync was issued: only those it covers. */
  readonly #syncUpTo = new Map<FileEffect, number>();
  /** Mirror writes that had ended when a mirror sync was issued: only those it covers. */
  readonly #mirrorSyncUpTo = new Map<FileEffect, number>();
  #lastRequest = 0;
  plan: FaultPlan = () => undefined;

  constructor(
    readonly disk: JournalDisk,
    options: { readonly segmentBytes: number; readonly ackedSeq?: number; readonly volumes?: readonly VolumeWish[] },
  ) {
    const recovery = new JournalRecovery(
      { identity: IDENTITY, epoch: 1, crc32c: crc32cTable, decompress: (_, body) => body, ...(options.ackedSeq === undefined ? {} : { ackedSeq: options.ackedSeq }) },
      disk.found(),
    );
    for (const { found, limitBytes } of recovery.plan.segments) recovery.feed(found, disk.read(found.segment, limitBytes));
    for (const each of recovery.leftOut) recovery.feedLeftOut(each, disk.read(each.found.segment, each.found.fileBytes));
    this.recovered = recovery.finish();
    this.journal = new Journal(
      {
        identity: IDENTITY,
        volumes: options.volumes ?? disk.mirrors.map(({ bytes }) => ({ diskId: '', sizeBytes: bytes.byteLength })),
        segmentBytes: options.segmentBytes,
        freshSalt: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
        crc32c: crc32cTable,
        clocks: { monotonicMs: () => this.nowMs, wallClockMs: () => 1_700_000_000_000 + this.nowMs },
      },
      this.recovered,
    );
    this.journal.start(this.#effects);
    this.#sort();
  }

  get inFlight(): readonly FileEffect[] {
    return this.#inFlight;
  }

  append(frame: TestFrame): void {
    this.journal.step({ type: 'append', ...frame }, this.#effects);
    this.#sort();
  }

  request(command: WithoutRequest<JournalCommand>): number {
    this.#lastRequest += 1;
    this.journal.step({ ...command, request: this.#lastRequest }, this.#effects);
    this.#sort();
    return this.#lastRequest;
  }

  step(event: Parameters<Journal['step']>[0]): void {
    this.journal.step(event, this.#effects);
    this.#sort();
  }

  act(act: (effects: JournalEffect[]) => void): void {
    act(this.#effects);
    this.#sort();
  }

  /** Carries out one effect in flight and reports it. */
  completeOne(random: Random = () => 0): void {
    this.#completeAt(Math.floor(random() * this.#inFlight.length), random);
  }

  /** The effect of this type that has been in flight for the longest. */
  complete(type: FileEffect['type']): void {
    const index = this.#inFlight.findIndex((effect) => effect.type === type);
    assert(index >= 0, `${type} is in flight`);
    this.#completeAt(index, () => 0);
  }

  #completeAt(index: number, random: Random): void {
    const [effect] = this.#inFlight.splice(index, 1);
    if (effect === undefined) return;
    const failure = this.plan(effect);
    const completion = failure === undefined ? this.#carryOut(effect) : this.#fail(effect, failure, random);
    this.nowMs += 1;
    this.step(completion);
  }

  settle(): void {
    while (this.#inFlight.length > 0) this.completeOne();
  }

  /** Request, then everything that it takes; the error code if it was refused. */
  ask(command: WithoutRequest<JournalCommand>): IncarnationBegun | string | undefined {
    const request = this.request(command);
    this.settle();
    const answer = this.answers.get(request);
    assert(answer !== undefined, 'every request is answered');
    return answer.error ?? answer.answer;
  }

  /** The bytes of every volume at a held checkpoint, as a view would read them. */
  image(checkpoint: HeldCheckpoint): Uint8Array[] {
    const bodies = new Map<number, Uint8Array>();
    const bodyOf = (place: FramePlace): Uint8Array => {
      const key = place.segment * 2 ** 32 + place.at;
      const body = bodies.get(key) ?? this.#body(place);
      bodies.set(key, body);
      return body;
    };
    return this.disk.mirrors.map((mirror, volume) => {
      const image = mirror.bytes.slice();
      const map = new ImageMap(this.journal.writesBefore(checkpoint.markerSeq, volume));
      map.visit(0, image.byteLength, (start, end, piece) => {
        if (piece === undefined) return;
        if (piece.payloadAt === 0) image.fill(0, start, end);
        else image.set(bodyOf(piece).subarray(piece.payloadAt, piece.payloadAt + end - start), start);
      });
      return image;
    });
  }

  #sort(): void {
    for (const effect of this.#effects.splice(0)) {
      switch (effect.type) {
        case 'durable':
          assert(effect.seq > this.durableSeq, 'durable only grows');
          this.durableSeq = effect.seq;
          break;
        case 'answered':
          this.answers.set(effect.request, { answer: effect.answer });
          break;
        case 'refused':
          this.answers.set(effect.request, { error: effect.error.code });
          break;
        case 'stateChanged':
          this.states.push(effect.state.phase);
          break;
        case 'checkpointsChanged':
          break;
        default:
          this.#inFlight.push(effect);
          if (effect.type === 'sync') this.#syncUpTo.set(effect, this.disk.sizeOf(effect.segment));
          if (effect.type === 'mirrorSync') this.#mirrorSyncUpTo.set(effect, this.disk.mirrorWriteCount);
      }
    }
  }

  #carryOut(effect: FileEffect): JournalCompletion {
    switch (effect.type) {
      case 'append':
        this.disk.append(effect.segment, effect.at, effect.chunks);
        return { type: 'appended' };
      case 'sync':
        this.disk.sync(effect.segment, this.#syncUpTo.get(effect));
        return { type: 'synced' };
      case 'createSegment':
        this.disk.create(effect.segment, effect.header);
        return { type: 'segmentCreated' };
      case 'truncateSegment':
        this.disk.truncate(effect.segment, effect.bytes);
        return { type: 'truncated' };
      case 'removeSegment':
        this.disk.remove(effect.segment);
        return { type: 'segmentRemoved' };
      case 'mirrorWrite':
        for (const record of effect.records) this.disk.writeMirror(record);
        return { type: 'mirrorWritten' };
      case 'mirrorReplay': {
        const salt = this.recovered.salt ?? Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
        const write = (record: StreamRecord): void => this.disk.writeMirror(record);
        const bytes = this.disk.read(effect.segment, this.disk.sizeOf(effect.segment));
        const replay = replaySegment(effect, bytes, { salt, crc32c: crc32cTable, decompress: (_, body) => body, write });
        assert(replay !== undefined, 'the segment reads back as written');
        return { type: 'mirrorReplayed', lastSeq: replay.lastSeq, at: replay.at, recordNo: replay.recordNo };
      }
      case 'mirrorSync':
        this.disk.syncMirrors(this.#mirrorSyncUpTo.get(effect));
        return { type: 'mirrorSynced', owner: effect.owner };
      default:
        return unreachable(effect);
    }
  }

  /** A failing append may leave a part of its bytes behind. */
  #fail(effect: FileEffect, reason: StorageFailure, random: Random): JournalCompletion {
    const detail = `planned ${reason}`;
    switch (effect.type) {
      case 'append': {
        const [first] = effect.chunks;
        if (first !== undefined && random() < 0.5) this.disk.append(effect.segment, effect.at, [first.subarray(0, 100)]);
        return { type: 'appendFailed', reason, detail };
      }
      case 'sync':
        return { type: 'syncFailed', detail };
      case 'createSegment':
        return { type: 'segmentCreateFailed', reason, detail };
      case 'truncateSegment':
        return { type: 'truncateFailed', detail };
      case 'removeSegment':
        return { type: 'segmentRemoveFailed', detail };
      case 'mirrorWrite':
        return { type: 'mirrorFailed', owner: 'direct', reason, detail };
      case 'mirrorReplay':
        return { type: 'mirrorFailed', owner: 'apply', reason, detail };
      case 'mirrorSync':
        return { type: 'mirrorFailed', owner: effect.owner, reason, detail };
      default:
        return unreachable(effect);
    }
  }

  #frame(place: FramePlace): { readonly firstSeq: number; readonly records: readonly StreamRecord[]; readonly body: Uint8Array } {
    const file = this.disk.read(place.segment, this.disk.sizeOf(place.segment));
    const salt = this.recovered.salt ?? Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const header = decodeJournalRecord(file.subarray(place.at, place.at + JOURNAL_RECORD_HEADER_BYTES), salt, crc32cTable);
    assert(header !== undefined, 'the index points at a record');
    const body = file.subarray(place.at + JOURNAL_RECORD_HEADER_BYTES, place.at + JOURNAL_RECORD_HEADER_BYTES + header.bodyBytes);
    assert(crc32cTable(body) === header.bodyCrc, 'the frame reads back as written');
    return { firstSeq: header.firstSeq, records: decodePlaced(header, body).records, body };
  }

  #body(place: FramePlace): Uint8Array {
    return this.#frame(place).body;
  }
}
