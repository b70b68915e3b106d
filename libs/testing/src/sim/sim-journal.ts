import { assert, unreachable } from '@tidemark/base';
import { isVolumeRecord, RecordType, type FrameHeader, type StreamRecord } from '@tidemark/frame';
import {
  decodeFrameBody, decodeJournalRecord, decodeSegmentHeader, ImageMap, Journal, JOURNAL_RECORD_HEADER_BYTES, JournalRecovery, SEGMENT_HEADER_BYTES,
  type HeldCheckpoint, type IncarnationBegun, type JournalCommand, type JournalCompletion, type JournalEffect, type JournalState, type SegmentFound,
} from '@tidemark/journal';
import { crc32c } from '@tidemark/link';
import { SimFile, type SimDisk } from './disk.js';
import type { SimHost, Surroundings } from './sim-host.js';
import { Violation } from './world.js';

export interface SimJournalHooks {
  onDurable(seq: number): void;
  onState(state: JournalState): void;
  onReady(): void;
}

interface Owner {
  readonly host: SimHost;
  readonly around: Surroundings;
  readonly disk: SimDisk;
}

type Answer = (result: IncarnationBegun | undefined, error: Error | undefined) => void;
/** Without the number that tells requests apart: that is given here. */
type Command = JournalCommand extends infer T ? (T extends JournalCommand ? Omit<T, 'request'> : never) : never;

const none = (_codec: number, body: Uint8Array): Uint8Array => body;

/** The journal engine of one VM over the simulated disk: what @tidemark/journal-file is in a VRA. */
export class SimJournal {
  readonly engine: Journal;
  readonly #answers = new Map<number, Answer>();
  #nextRequest = 1;
  #isReady = false;
  #effects: JournalEffect[] = [];
  #isDraining = false;

  constructor(
    private readonly owner: Owner,
    private readonly vmId: string,
    private readonly options: { readonly vpgId: string; readonly epoch: number; readonly volumeBytes: readonly number[]; readonly segmentBytes: number },
    private readonly hooks: SimJournalHooks,
  ) {
    const { vpgId, epoch, volumeBytes, segmentBytes } = options;
    const identity = { vpgId, vmId };
    for (const [volume, sizeBytes] of volumeBytes.entries()) this.#ensureMirror(volume, sizeBytes);
    const recovery = new JournalRecovery({ identity, epoch, crc32c, decompress: none }, this.#found());
    for (const { found, limitBytes } of recovery.plan.segments) recovery.feed(found, this.#file(found.segment).read(0, limitBytes).slice());
    const recovered = recovery.finish();
    if (recovered.corruption !== undefined && !this.#wasDamaged()) throw new Violation(`journal of ${vmId}: ${recovered.corruption}`);
    const { random } = owner.around.world;
    this.engine = new Journal({
      identity, volumes: volumeBytes.map((sizeBytes) => ({ diskId: '', sizeBytes })), segmentBytes, crc32c,
      freshSalt: Uint8Array.from({ length: 8 }, () => random.int(256)),
      clocks: { monotonicMs: () => owner.host.nowMs, wallClockMs: () => owner.host.wallMs },
    }, recovered);
    this.engine.start(this.#effects);
    // The owner gets this object before anything happens to it.
    owner.host.after(0, () => {
      this.#drain();
      this.#checkReady();
    });
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  append(header: FrameHeader, body: Uint8Array, records: readonly StreamRecord[]): void {
    const error = this.engine.frameError(header, records);
    if (error !== undefined) throw new Violation(`the receiver let a wrong frame through: ${error.message}`);
    this.engine.step({ type: 'append', header, body, records }, this.#effects);
    this.#drain();
  }

  command(command: Command, answer: Answer): void {
    const request = this.#nextRequest;
    this.#nextRequest += 1;
    this.#answers.set(request, answer);
    this.engine.step({ ...command, request } as JournalCommand, this.#effects);
    this.#drain();
  }

  pin(key: string, checkpointId: number): boolean {
    if (!this.#isReady || this.engine.pinError(checkpointId) !== undefined) return false;
    this.engine.step({ type: 'pin', key, checkpointId }, this.#effects);
    this.#drain();
    return true;
  }

  unpin(key: string): void {
    this.engine.step({ type: 'unpin', key }, this.#effects);
    this.#drain();
  }

  resume(): void {
    this.engine.step({ type: 'resume' }, this.#effects);
    this.#drain();
  }

  /** Content of one volume before `markerSeq` (or of all that is durable): mirror, with the journal over it. */
  imageBefore(volume: number, checkpoint: Pick<HeldCheckpoint, 'markerSeq'> | undefined): Uint8Array {
    const image = this.#mirror(volume).copy();
    const map = new ImageMap(this.engine.writesBefore(checkpoint?.markerSeq ?? Number.MAX_SAFE_INTEGER, volume));
    map.visit(0, image.byteLength, (start, end, piece) => {
      if (piece === undefined) return;
      if (piece.payloadAt === 0) image.fill(0, start, end);
      else image.set(this.#bodyAt(piece.segment, piece.at).subarray(piece.payloadAt, piece.payloadAt + end - start), start);
    });
    return image;
  }

  /** Checksum over all files of this VM at the recovery site. */
  digest(): number {
    const files = [...this.owner.disk.files].filter(([path]) => path.startsWith(`${this.vmId}/`)).sort(([a], [b]) => (a < b ? -1 : 1));
    return files.reduce((crc, [, file]) => crc32c(file.read(0, file.sizeBytes), crc), 0);
  }

  #bodyAt(segment: number, at: number): Uint8Array {
    const file = this.#file(segment);
    const segmentHeader = decodeSegmentHeader(file.read(0, SEGMENT_HEADER_BYTES), crc32c);
    const header = segmentHeader && decodeJournalRecord(file.read(at, at + JOURNAL_RECORD_HEADER_BYTES), segmentHeader.salt, crc32c);
    if (header === undefined) throw new Violation(`the index of ${this.vmId} points to no record: segment ${segment}, byte ${at}`);
    const bodyAt = at + JOURNAL_RECORD_HEADER_BYTES;
    const body = file.read(bodyAt, bodyAt + header.bodyBytes);
    if (crc32c(body) !== header.bodyCrc) throw new Violation(`damaged record in the journal of ${this.vmId}`);
    return body;
  }

  #recordsAt(segment: number, at: number): { firstSeq: number; records: StreamRecord[] } {
    const file = this.#file(segment);
    const segmentHeader = decodeSegmentHeader(file.read(0, SEGMENT_HEADER_BYTES), crc32c);
    const header = segmentHeader && decodeJournalRecord(file.read(at, at + JOURNAL_RECORD_HEADER_BYTES), segmentHeader.salt, crc32c);
    if (header === undefined) throw new Violation(`replay of ${this.vmId} finds no record: segment ${segment}, byte ${at}`);
    return { firstSeq: header.firstSeq, records: decodeFrameBody(header, this.#bodyAt(segment, at).slice()) };
  }

  // ---- effects

  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let effect = this.#effects.shift(); effect !== undefined; effect = this.#effects.shift()) this.#carryOut(effect);
    this.#isDraining = false;
    this.#checkReady();
  }

  #checkReady(): void {
    if (this.#isReady || !this.engine.isSettled) return;
    this.#isReady = true;
    this.hooks.onReady();
  }

  #carryOut(effect: JournalEffect): void {
    const { plant } = this.owner.around;
    switch (effect.type) {
      case 'createSegment': return this.#createSegment(effect.segment, effect.header);
      case 'append': return this.#append(effect);
      case 'sync': return this.#sync(this.#file(effect.segment), plant?.isSyncForgotten === true, 'synced');
      case 'truncateSegment':
        return this.#later(() => {
          this.#file(effect.segment).truncateDurable(effect.bytes);
          return { type: 'truncated' };
        });
      case 'removeSegment':
        return this.#later(() => {
          this.owner.disk.files.delete(this.#path(effect.segment));
          return { type: 'segmentRemoved' };
        });
      case 'mirrorWrite':
        this.#writeMirrors(effect.records);
        return this.#later(() => ({ type: 'mirrorWritten' }));
      case 'mirrorReplay':
        for (const { segment, at } of effect.frames) this.#replay(segment, at, effect);
        return this.#later(() => ({ type: 'mirrorWritten' }));
      case 'mirrorSync': return this.#syncMirrors(plant?.isMirrorSyncForgotten === true);
      case 'durable': return this.hooks.onDurable(effect.seq);
      case 'answered': return this.#answer(effect.request, effect.answer, undefined);
      case 'refused': return this.#answer(effect.request, undefined, effect.error);
      case 'checkpointsChanged': return;
      case 'stateChanged': return this.hooks.onState(effect.state);
      default: return unreachable(effect);
    }
  }

  #answer(request: number, result: IncarnationBegun | undefined, error: Error | undefined): void {
    const answer = this.#answers.get(request);
    assert(answer !== undefined, 'an answer to a request');
    this.#answers.delete(request);
    answer(result, error);
  }

  #createSegment(segment: number, header: Uint8Array): void {
    const { disk } = this.owner;
    if (disk.usedBytes + header.byteLength > disk.capacityBytes) {
      return this.#later(() => ({ type: 'segmentCreateFailed', reason: 'noSpace', detail: 'no space' }));
    }
    const file = new SimFile();
    disk.files.set(this.#path(segment), file);
    file.write(0, header);
    file.beginSync();
    return this.#later(() => {
      file.endSync();
      return { type: 'segmentCreated' };
    });
  }

  #append({ segment, at, chunks }: Extract<JournalEffect, { type: 'append' }>): void {
    const { disk, around } = this.owner;
    const file = this.#file(segment);
    if (file.sizeBytes !== at) throw new Violation(`append at ${at} to a segment of ${file.sizeBytes} bytes`);
    const bytes = chunks.reduce((total, chunk) => total + chunk.byteLength, 0);
    const roomBytes = disk.capacityBytes - disk.usedBytes;
    if (bytes > roomBytes) {
      file.write(at, new Uint8Array(around.world.random.int(Math.max(1, Math.min(roomBytes, bytes)))));
      return this.#later(() => ({ type: 'appendFailed', reason: 'noSpace', detail: 'no space' }));
    }
    let to = at;
    for (const chunk of chunks) {
      file.write(to, chunk);
      to += chunk.byteLength;
    }
    return this.#later(() => ({ type: 'appended' }));
  }

  #sync(file: SimFile, isForgotten: boolean, done: 'synced' | 'mirrorSynced'): void {
    const { disk } = this.owner;
    if (isForgotten) return this.#later(() => ({ type: done }));
    file.beginSync();
    return this.#later(() => {
      if (disk.failingSyncs > 0) {
        disk.failingSyncs -= 1;
        disk.files.set(this.#damagedPath, new SimFile());
        file.failSync();
        return { type: 'syncFailed', detail: 'EIO' };
      }
      file.endSync();
      return { type: done };
    });
  }

  #syncMirrors(isForgotten: boolean): void {
    const mirrors = this.options.volumeBytes.map((_, volume) => this.#mirror(volume));
    if (!isForgotten) for (const mirror of mirrors) mirror.beginSync();
    this.#later(() => {
      if (!isForgotten) for (const mirror of mirrors) mirror.endSync();
      return { type: 'mirrorSynced' };
    });
  }

  #writeMirrors(records: readonly StreamRecord[]): void {
    for (const record of records) {
      if (!isVolumeRecord(record.type)) continue;
      const mirror = this.#mirror(record.volume);
      if (record.type === RecordType.zeroes || record.type === RecordType.syncZeroes) mirror.zero(record.offset, record.length);
      else mirror.write(record.offset, record.payload ?? new Uint8Array());
    }
  }

  #replay(segment: number, at: number, { afterSeq, throughSeq }: { afterSeq: number; throughSeq: number }): void {
    const { firstSeq, records } = this.#recordsAt(segment, at);
    this.#writeMirrors(records.filter((_, index) => firstSeq + index > afterSeq && firstSeq + index <= throughSeq));
  }

  /** Each file operation takes its time, and then the engine is told. */
  #later(operation: () => JournalCompletion): void {
    const { around, disk, host } = this.owner;
    host.after(around.world.random.below(disk.latencyMsMax), () => {
      this.engine.step(operation(), this.#effects);
      this.#drain();
    });
  }

  // ---- files

  #path(segment: number): string {
    return `${this.vmId}/journal/${segment}`;
  }

  get #damagedPath(): string {
    return `${this.vmId}/damaged`;
  }

  /** A failed fsync may lose bytes that nobody was promised; the engine may then call the journal corrupt. */
  #wasDamaged(): boolean {
    return this.owner.disk.files.has(this.#damagedPath);
  }

  #file(segment: number): SimFile {
    const file = this.owner.disk.files.get(this.#path(segment));
    if (file === undefined) throw new Violation(`segment ${segment} of ${this.vmId} is needed and gone`);
    return file;
  }

  #mirror(volume: number): SimFile {
    const file = this.owner.disk.files.get(`${this.vmId}/mirror/${volume}`);
    assert(file !== undefined, 'mirror volume');
    return file;
  }

  #ensureMirror(volume: number, sizeBytes: number): void {
    const path = `${this.vmId}/mirror/${volume}`;
    if (!this.owner.disk.files.has(path)) this.owner.disk.files.set(path, new SimFile(sizeBytes));
  }

  #found(): SegmentFound[] {
    const prefix = `${this.vmId}/journal/`;
    return [...this.owner.disk.files]
      .filter(([path]) => path.startsWith(prefix))
      .map(([path, file]) => ({
        segment: Number(path.slice(prefix.length)),
        fileBytes: file.sizeBytes,
        header: file.sizeBytes < SEGMENT_HEADER_BYTES ? undefined : decodeSegmentHeader(file.read(0, SEGMENT_HEADER_BYTES).slice(), crc32c),
      }));
  }
}
