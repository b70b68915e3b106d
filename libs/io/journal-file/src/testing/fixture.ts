import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMarker, encodeRecordsBody, encodeSeal, encodeSyncStart, FrameCodec, type FrameHeader, FrameKind, RecordType, type StreamRecord } from '@tidemark/frame';
import { MemoryVolume, type Volume } from '@tidemark/volume';
import { crc32c } from '../defaults.js';
import { JournalFile } from '../journal-file.js';
import type { JournalFileOptions } from '../types.js';

export const IDENTITY = { vpgId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', vmId: 'vm-1' };

export const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });
export const write = (offset: number, payload: Uint8Array, volume = 0): StreamRecord => ({ type: RecordType.write, volume, offset, length: payload.byteLength, payload });
export const zeroes = (offset: number, length: number, volume = 0): StreamRecord => ({ type: RecordType.zeroes, volume, offset, length, payload: undefined });
export const syncStart = (): StreamRecord => mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' }));

export function frameOf(records: readonly StreamRecord[], place: { readonly firstSeq: number; readonly incarnation: number; readonly epoch: number }): { header: FrameHeader; body: Uint8Array } {
  const body = Buffer.concat(encodeRecordsBody(records));
  const header: FrameHeader = {
    kind: FrameKind.records, stream: 1, ...place, count: records.length, lastSeq: place.firstSeq + records.length - 1, bodyBytes: body.byteLength,
    rawBytes: body.byteLength, bodyCrc: crc32c(body), codec: FrameCodec.none,
  };
  return { header, body };
}

export interface BenchOptions extends Partial<Omit<JournalFileOptions, 'folder' | 'volumes'>> {
  readonly mirrors?: readonly Volume[];
  readonly volumeBytes?: readonly number[];
  readonly folder?: string;
}

/** A journal on real files, with a sender that numbers. */
export class FileBench {
  durableSeq = 0;
  lastSeq = 0;
  incarnation = 0;
  epoch = 1;
  readonly states: string[] = [];
  #lastCheckpoint = 0;
  readonly #whenDurable: { seq: number; resolve: () => void }[] = [];

  private constructor(
    readonly folder: string,
    readonly mirrors: readonly Volume[],
    readonly options: BenchOptions,
  ) {}

  journal!: JournalFile;

  static async make(options: BenchOptions = {}): Promise<FileBench> {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'tidemark-journal-')));
    const mirrors = options.mirrors ?? (options.volumeBytes ?? [1024 * 1024]).map((sizeBytes) => new MemoryVolume({ sizeBytes }));
    const bench = new FileBench(folder, mirrors, options);
    await bench.open();
    return bench;
  }

  async open(): Promise<void> {
    this.journal = await JournalFile.open({
      folder: join(this.folder, 'journal'),
      identity: IDENTITY,
      volumes: this.mirrors.map((mirror) => ({ sizeBytes: mirror.sizeBytes, mirror })),
      epoch: 1,
      clocks: { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() },
      onDurable: (seq) => this.#durable(seq),
      onCheckpointsChanged: () => undefined,
      onState: ({ phase }) => this.states.push(phase),
      ...this.options,
    });
    const { durableSeq } = this.journal.stats();
    this.durableSeq = durableSeq;
    this.lastSeq = durableSeq;
  }

  /** As after a restart of the process. */
  async reopen(): Promise<void> {
    await this.journal.close();
    await this.open();
  }

  async begin(sessionId = 'session-1'): Promise<void> {
    const begun = await this.journal.beginIncarnation({ sessionId, epoch: this.epoch });
    this.incarnation = begun.incarnation;
    this.lastSeq = begun.durableSeq;
  }

  send(records: readonly StreamRecord[]): number {
    const { header, body } = frameOf(records, { firstSeq: this.lastSeq + 1, incarnation: this.incarnation, epoch: this.epoch });
    this.journal.append(header, body, records);
    this.lastSeq = header.lastSeq;
    return header.lastSeq;
  }

  async sendDurable(records: readonly StreamRecord[]): Promise<void> {
    await this.durable(this.send(records));
  }

  async durable(seq: number): Promise<void> {
    if (this.durableSeq < seq) await new Promise<void>((resolve) => this.#whenDurable.push({ seq, resolve }));
  }

  /** An initial sync of nothing: the base is complete and empty. */
  sendBase(): number {
    return this.send([syncStart(), mark(RecordType.syncEnd)]);
  }

  async base(): Promise<void> {
    await this.begin();
    await this.durable(this.sendBase());
  }

  /** Marker and seal behind everything sent. */
  sendCheckpoint(checkpointId: number): number {
    const { vpgId, vmId } = IDENTITY;
    this.send([mark(RecordType.marker, encodeMarker({ vpgId, checkpointId, epoch: this.epoch, term: 1, vmIds: [vmId], atMs: 1, ageMs: 0, tag: null, kind: 'automatic' }))]);
    return this.send([mark(RecordType.seal, encodeSeal({ vpgId, checkpointId, term: 1 }))]);
  }

  /** As {@link sendCheckpoint}; resolves when it is held. */
  async checkpoint(): Promise<number> {
    this.#lastCheckpoint += 1;
    await this.durable(this.sendCheckpoint(this.#lastCheckpoint));
    return this.#lastCheckpoint;
  }

  async remove(): Promise<void> {
    await this.journal.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  #durable(seq: number): void {
    this.durableSeq = seq;
    for (const waiter of [...this.#whenDurable]) {
      if (waiter.seq > seq) continue;
      this.#whenDurable.splice(this.#whenDurable.indexOf(waiter), 1);
      waiter.resolve();
    }
  }
}

export async function readAll(volume: Volume): Promise<Uint8Array> {
  const bytes = new Uint8Array(volume.sizeBytes);
  await volume.read(0, bytes);
  return bytes;
}
