import { expect } from '@jest/globals';
import { encodeMarker, encodeSeal, encodeSyncStart, isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import { BEING_COPIED } from '../volume-set.js';
import type { KeptImages } from '../version-sweep.js';
import { compactBench } from './compact-bench.js';
import { frameOf, IDENTITY, JournalBench, type FaultPlan } from './journal-bench.js';
import { JournalDisk, randomFrom, type Random } from './journal-disk.js';

const VOLUME_BYTES = [8 * 1024, 4 * 1024];
/** Room for volumes that are added and grow; a mirror is as long as its volume ever gets. */
const MIRROR_BYTES = [16 * 1024, 8 * 1024, 8 * 1024, 8 * 1024, 8 * 1024];
const wishesOf = (sizes: readonly number[]): { diskId: string; sizeBytes: number }[] => sizes.map((sizeBytes, index) => ({ diskId: `d${index}`, sizeBytes }));
const SEGMENT_BYTES = 12 * 1024;

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });

function applyTo(volumes: readonly Uint8Array[], record: StreamRecord | undefined): void {
  if (record !== undefined && isVolumeRecord(record.type)) volumes[record.volume]?.set(record.payload ?? new Uint8Array(record.length), record.offset);
}

/** A sender, a journal on a bad disk, and a dumb model: the list of all records that the journal took. */
export class World {
  readonly disk = new JournalDisk(MIRROR_BYTES);
  /** What the sender's stream has. */
  #sizes: readonly number[] = VOLUME_BYTES;
  /** Volumes that the sync under way has to copy: added or grown. */
  #isCopyDue = false;
  changes = 0;
  appliesBeside = 0;
  bench: JournalBench;
  /** seq -> record; what a crash lost is sent again with other contents. */
  readonly stream = new Map<number, StreamRecord>();
  #lastSeq = 0;
  #incarnation = 0;
  /** After a refused frame a sender opens the stream again; it never skips one. */
  #isOpen = false;
  #lastCheckpoint = 0;
  /** Checkpoints that were listed and not retired. */
  readonly listed = new Map<number, number>();
  /** Sizes of the volumes when the checkpoint was made. */
  readonly sets = new Map<number, readonly number[]>();
  retired = new Set<number>();
  #durableSeq = 0;
  thinned = 0;
  /** A bug to be found. */
  imagesOf: (images: KeptImages) => KeptImages = (images) => images;
  freedBytes = 0;
  faults: FaultPlan = () => undefined;
  crashes = 0;

  constructor(private readonly random: Random) {
    this.bench = new JournalBench(this.disk, { segmentBytes: SEGMENT_BYTES, volumes: wishesOf(VOLUME_BYTES) });
    this.begin();
  }

  pick(count: number): number {
    return Math.floor(this.random() * count);
  }

  begin(): void {
    this.#isOpen = false;
    this.bench.settle();
    if (this.bench.journal.state.phase !== 'open') this.bench.step({ type: 'resume' });
    const begun = this.bench.ask({ type: 'beginIncarnation', sessionId: 'session', epoch: 1 });
    if (typeof begun !== 'object') return;
    this.#incarnation = begun.incarnation;
    this.#lastSeq = begun.durableSeq;
    this.#isOpen = true;
    this.#durableSeq = Math.max(this.#durableSeq, begun.durableSeq);
    for (const seq of [...this.stream.keys()]) if (seq > begun.durableSeq) this.stream.delete(seq);
    // What became of a change that a crash cut short, the journal knows; the sender would be refused with another set.
    this.#sizes = this.bench.journal.durable.volumes.map(({ sizeBytes }) => sizeBytes);
    this.#isCopyDue ||= this.bench.journal.durable.volumes.some(({ baseSeq }) => baseSeq === BEING_COPIED);
    if (!begun.isBaseComplete || this.#isCopyDue) this.#wholeSync(begun.isBaseComplete ? 'deltaSync' : 'initialSync');
    else if (this.random() < 0.3) this.#bitmapSync();
  }

  send(records: readonly StreamRecord[], gap = 0): void {
    const firstSeq = this.#lastSeq + 1 + gap;
    const frame = frameOf(records, { firstSeq, incarnation: this.#incarnation, epoch: 1 });
    this.#isOpen &&= this.bench.journal.frameError(frame.header, records) === undefined;
    if (!this.#isOpen) return;
    records.forEach((record, i) => this.stream.set(firstSeq + i, record));
    this.#lastSeq = frame.header.lastSeq;
    this.bench.append(frame);
    this.note();
  }

  /** All of all volumes, in several frames between the guest's writes, so that crashes fall into it. */
  #wholeSync(kind: 'initialSync' | 'deltaSync'): void {
    this.send([mark(RecordType.syncStart, encodeSyncStart({ kind, reason: 'test' }))]);
    this.#sizes.forEach((bytes, volume) => {
      for (let offset = 0; offset < bytes; offset += 4096) {
        const block = this.#write(volume, offset, 4096, RecordType.syncWrite);
        this.send(this.random() < 0.5 ? [block] : [this.#randomWrite(), block, this.#randomWrite()]);
        if (this.random() < 0.3) this.bench.completeOne(this.random);
        if (this.random() < 0.2) this.#applyBeside();
      }
    });
    this.send([this.#randomWrite(), mark(RecordType.syncEnd), this.#randomWrite()]);
    if (this.#isOpen) this.#isCopyDue = false;
  }

  /** An apply of what was retired before: its mirror effects run beside those of the copy. */
  #applyBeside(): void {
    const [oldest] = this.bench.journal.checkpoints;
    if (oldest === undefined || this.bench.journal.durable.retiredSeq < oldest.markerSeq) return;
    this.bench.request({ type: 'allowApply', checkpointId: oldest.checkpointId });
    this.appliesBeside += 1;
  }

  /** A volume is added, grown or removed; the stream is opened anew with the new set. */
  changeVolumes(): void {
    const sizes = [...this.bench.journal.durable.volumes.map(({ sizeBytes }) => sizeBytes)];
    const volume = this.pick(sizes.length);
    const dice = this.random();
    if (dice < 0.4 && sizes.length < MIRROR_BYTES.length) sizes.push(4096);
    else if (dice < 0.7 && (sizes[volume] ?? 0) > 0) sizes[volume] = MIRROR_BYTES[volume] ?? 0;
    else if (sizes.filter((size) => size > 0).length > 1) sizes[volume] = 0;
    this.#isOpen = false;
    const answer = this.bench.ask({ type: 'changeVolumes', volumes: wishesOf(sizes) });
    if (answer !== undefined) return; // refused: full or broken
    this.changes += 1;
    this.#isCopyDue = true;
    this.begin();
  }

  #bitmapSync(): void {
    this.send([mark(RecordType.syncStart, encodeSyncStart({ kind: 'bitmapSync', reason: 'test' })), this.#randomWrite(RecordType.syncWrite)], this.pick(50));
    this.checkpoint();
    this.send([mark(RecordType.syncEnd)]);
  }

  #write(volume: number, offset: number, length: number, type: RecordType): StreamRecord {
    const payload = new Uint8Array(length);
    for (let at = 0; at < length; at += 512) payload.fill(this.pick(255) + 1, at, at + 512);
    return { type, volume, offset, length, payload };
  }

  #randomWrite(type: RecordType = RecordType.write): StreamRecord {
    const live = this.#sizes.flatMap((bytes, index) => (bytes > 0 ? [index] : []));
    const volume = live[this.pick(live.length)] ?? 0;
    const sectors = (this.#sizes[volume] ?? 0) / 512;
    const first = this.pick(sectors);
    const length = 512 * (1 + this.pick(Math.min(8, sectors - first)));
    if (this.random() < 0.2) return { type: RecordType.zeroes, volume, offset: first * 512, length, payload: undefined };
    return this.#write(volume, first * 512, length, type);
  }

  writes(): void {
    this.send(Array.from({ length: 1 + this.pick(4) }, () => this.#randomWrite()));
  }

  checkpoint(): void {
    const checkpointId = (this.#lastCheckpoint += 1);
    this.sets.set(checkpointId, this.#sizes);
    const term = 1;
    const marker = { vpgId: IDENTITY.vpgId, checkpointId, epoch: 1, term, vmIds: ['vm-1'], atMs: 5, ageMs: 1, tag: null, kind: 'automatic' } as const;
    this.send([this.#randomWrite(), mark(RecordType.marker, encodeMarker(marker)), this.#randomWrite()]);
    if (this.random() < 0.2) this.writes();
    if (this.random() < 0.9) this.send([mark(RecordType.seal, encodeSeal({ vpgId: IDENTITY.vpgId, checkpointId, term }))]);
  }

  retireAndApply(): void {
    const held = this.bench.journal.checkpoints;
    const kept = held[this.pick(held.length)];
    if (kept === undefined) return;
    // Listed or not is open from the moment of the request until it is answered.
    for (const { checkpointId, markerSeq } of held) {
      if (markerSeq < kept.markerSeq) {
        this.listed.delete(checkpointId);
        this.retired.add(checkpointId);
      }
    }
    const request = this.bench.request({ type: 'retire', checkpointId: kept.checkpointId });
    for (let i = 0; i < 40 && !this.bench.answers.has(request); i += 1) this.bench.completeOne(this.random);
    if (this.random() < 0.5) this.bench.request({ type: 'allowApply', checkpointId: kept.checkpointId });
  }

  /** Some in the middle are dropped. */
  thin(): void {
    const dropped = this.bench.journal.checkpoints.slice(1, -1).filter(() => this.random() < 0.6).map(({ checkpointId }) => checkpointId);
    for (const id of dropped) {
      this.listed.delete(id);
      this.retired.add(id);
    }
    this.thinned += dropped.length;
    this.bench.request({ type: 'thin', checkpointIds: dropped });
  }

  /** Of segments that have lost markers only what checkpoints show is left; any of them, as after a kill between two. */
  compact(): void {
    this.freedBytes += compactBench(this.bench, { isCandidate: () => this.random() < 0.8, imagesOf: this.imagesOf });
  }

  note(): void {
    this.#durableSeq = Math.max(this.#durableSeq, this.bench.durableSeq);
    for (const { checkpointId, markerSeq } of this.bench.journal.checkpoints) if (!this.retired.has(checkpointId)) this.listed.set(checkpointId, markerSeq);
  }

  /** Everything that must hold, at any time. */
  check(): void {
    const { journal } = this.bench;
    expect(journal.durable.lastSeq).toBeGreaterThanOrEqual(this.#durableSeq);
    const held = new Map(journal.checkpoints.map((checkpoint) => [checkpoint.checkpointId, checkpoint]));
    for (const id of this.listed.keys()) expect(held.has(id) ? id : `checkpoint ${id} is lost`).toBe(id);
    const volumes = MIRROR_BYTES.map((bytes) => new Uint8Array(bytes));
    const stream = [...this.stream].sort(([a], [b]) => a - b);
    let next = 0;
    for (const checkpoint of held.values()) {
      for (; (stream[next]?.[0] ?? Infinity) < checkpoint.markerSeq; next += 1) applyTo(volumes, stream[next]?.[1]);
      const sizes = journal.volumesAt(checkpoint.markerSeq);
      // The stream has a volume for as long as its set had it: an image has the disks of its time, in the sizes of its time.
      expect(sizes.map(({ sizeBytes }) => sizeBytes)).toEqual(this.sets.get(checkpoint.checkpointId) ?? []);
      this.bench.image(checkpoint).forEach((bytes, volume) => {
        const size = sizes[volume]?.sizeBytes ?? 0;
        expect(Buffer.compare(bytes.subarray(0, size), (volumes[volume] ?? new Uint8Array(0)).subarray(0, size))).toBe(0);
      });
    }
  }

  /** A generation that storage kept from beginning says so; nothing is lost by it. */
  #expectSound(): void {
    const { corruption } = this.bench.recovered;
    if (corruption?.includes('the records that it begins with are not there') !== true) expect(corruption).toBe(undefined);
  }

  crash(): void {
    this.note();
    this.crashes += 1;
    this.disk.crash(this.random);
    this.bench = new JournalBench(this.disk, { segmentBytes: SEGMENT_BYTES, volumes: wishesOf(VOLUME_BYTES) });
    this.#expectSound();
    this.bench.plan = this.faults;
    this.check();
    this.begin();
  }

  /** The process is killed, the machine is not: what was written and not synced can still be read, and still be lost. */
  kill(): void {
    this.note();
    this.bench = new JournalBench(this.disk, { segmentBytes: SEGMENT_BYTES, volumes: wishesOf(VOLUME_BYTES) });
    this.#expectSound();
    this.bench.settle(); // without faults: were the first sync to fail, nobody could say what of the tail is durable
    this.bench.plan = this.faults;
    this.begin();
    this.check();
    if (this.random() < 0.5) this.crash();
  }

  act(): void {
    const dice = this.random();
    if (dice < 0.35) this.writes();
    else if (dice < 0.5) this.checkpoint();
    else if (dice < 0.9) this.bench.completeOne(this.random);
    else if (dice < 0.94) this.retireAndApply();
    else if (dice < 0.95) this.changeVolumes();
    else if (dice < 0.965) this.crash();
    else if (dice < 0.98) this.kill();
    else this.begin();
    this.note();
  }
}

export function run(seed: number, steps: number, faults?: (random: Random) => FaultPlan): World {
  const random = randomFrom(seed);
  const world = new World(random);
  if (faults !== undefined) world.faults = faults(random);
  world.bench.plan = world.faults;
  for (let i = 0; i < steps; i += 1) {
    world.act();
    if (i % 50 === 0) world.check();
  }
  world.crash();
  world.bench.settle();
  world.check();
  return world;
}
