import { copyFile, cp, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { FrameCodec, type StreamRecord } from '@tidemark/frame';
import { MemoryVolume } from '@tidemark/volume';
import { crc32c } from './defaults.js';
import type { FileLayer } from './file-layer.js';
import { nodeFiles } from './node-files.js';
import { FileBench, frameOf, write, zeroes } from './testing/fixture.js';
import { turnBit } from './testing/turn-bit.js';

const VOLUME_BYTES = [96 * 1024, 24 * 1024];
const SEGMENT_BYTES = 12 * 1024;

/** mulberry32 */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A journal, and a dumb model of its disks at every checkpoint. */
class World {
  readonly images = new Map<number, Uint8Array[]>();
  readonly disks = VOLUME_BYTES.map((bytes) => new Uint8Array(bytes));
  /** Opened after a crash: what was sent beyond its durable position is lost. */
  readonly #stream: { readonly seq: number; readonly records: readonly StreamRecord[] }[] = [];
  #lastCheckpoint = 0;
  bench!: FileBench;

  constructor(readonly random: () => number) {}

  pick(below: number): number {
    return Math.floor(this.random() * below);
  }

  async start(options: Parameters<typeof FileBench.make>[0] = {}): Promise<this> {
    const mirrors = VOLUME_BYTES.map((sizeBytes) => new MemoryVolume({ sizeBytes }));
    this.bench = await FileBench.make({ mirrors, segmentBytes: SEGMENT_BYTES, ...options });
    await this.bench.base();
    return this;
  }

  get journalFolder(): string {
    return this.bench.options.folder ?? join(this.bench.folder, 'journal');
  }

  #record(): StreamRecord {
    const volume = this.pick(2);
    const sizeBytes = VOLUME_BYTES[volume] ?? 0;
    const offset = 64 * this.pick(this.random() < 0.4 ? 8 : sizeBytes / 64);
    const length = Math.min(sizeBytes - offset, 64 * (1 + this.pick(this.random() < 0.1 ? 64 : 8)));
    return this.random() < 0.15 ? zeroes(offset, length, volume) : write(offset, new Uint8Array(length).map(() => this.pick(256)), volume);
  }

  send(): void {
    const records = Array.from({ length: 1 + this.pick(4) }, () => this.#record());
    const { bench } = this;
    const { header, body } = frameOf(records, { firstSeq: bench.lastSeq + 1, incarnation: bench.incarnation, epoch: 1 });
    if (this.random() < 0.3) {
      const packed = zstdCompressSync(body);
      bench.journal.append({ ...header, codec: FrameCodec.zstd, bodyBytes: packed.byteLength, bodyCrc: crc32c(packed) }, packed, records);
    } else bench.journal.append(header, body, records);
    bench.lastSeq = header.lastSeq;
    this.#stream.push({ seq: header.lastSeq, records });
    for (const { volume, offset, length, payload } of records) this.disks[volume]?.set(payload ?? new Uint8Array(length), offset);
  }

  /** Until there are so many segments. */
  async fill(segments: number): Promise<void> {
    while (this.bench.journal.stats().segmentCount < segments) {
      this.send();
      await this.bench.durable(this.bench.lastSeq);
    }
  }

  async checkpoint(): Promise<number> {
    this.#lastCheckpoint += 1;
    await this.bench.durable(this.bench.sendCheckpoint(this.#lastCheckpoint));
    this.images.set(this.#lastCheckpoint, this.disks.map((disk) => disk.slice()));
    return this.#lastCheckpoint;
  }

  async indexed(): Promise<void> {
    while (!this.isIndexed) await sleep(2);
  }

  get isIndexed(): boolean {
    const { unindexedSegments, indexFiles } = this.bench.journal.stats();
    return unindexedSegments === 0 && indexFiles.slice(-8).filter(({ firstSegment, lastSegment }) => firstSegment === lastSegment).length < 8;
  }

  async retireSome(): Promise<void> {
    const held = this.bench.journal.checkpoints();
    const to = held[this.pick(Math.ceil(held.length / 2))];
    if (to === undefined) return;
    await this.bench.journal.retire(to.checkpointId);
    await this.bench.journal.allowApply(to.checkpointId);
  }

  /** The disks at every checkpoint held, and the head. */
  async expectImages(): Promise<void> {
    const held = this.bench.journal.checkpoints();
    expect(held.length).toBeGreaterThan(0);
    for (const { checkpointId } of held) {
      const view = await this.bench.journal.openView({ checkpointId });
      await expectDisks(view.volumes, this.images.get(checkpointId), `checkpoint ${checkpointId}`);
      await view.close();
    }
    await this.bench.durable(this.bench.lastSeq);
    const head = await this.bench.journal.openHead();
    await expectDisks(head.volumes, this.disks, 'head');
    await head.close();
  }

  async reopen(): Promise<void> {
    await this.bench.durable(this.bench.lastSeq);
    const before = this.bench.journal.checkpoints().map(({ checkpointId, markerSeq }) => [checkpointId, markerSeq]);
    const { durableSeq, appliedSeq, retainedWrites, epoch } = this.bench.journal.stats();
    await this.bench.journal.close();
    await this.damage();
    await this.bench.open();
    const after = this.bench.journal.stats();
    expect(this.bench.journal.checkpoints().map(({ checkpointId, markerSeq }) => [checkpointId, markerSeq])).toEqual(before);
    expect(after).toMatchObject({ state: { phase: 'open' }, durableSeq, appliedSeq, epoch });
    expect(after.retainedWrites).toBeLessThanOrEqual(retainedWrites); // segments freed meanwhile
    await this.bench.begin();
  }

  /** What may happen to derived files between two starts. */
  async damage(): Promise<void> {
    const names = (await readdir(this.journalFolder)).filter((name) => name.endsWith('.index'));
    for (const name of names) {
      const path = join(this.journalFolder, name);
      const fate = this.pick(8);
      if (fate === 0) await rm(path);
      if (fate === 1) await truncate(path, this.pick((await stat(path)).size));
      if (fate === 2) await writeFile(path, new Uint8Array(this.pick(9000)));
      if (fate === 3) await copyFile(path, path.replace('.index', '.index.temp'));
      // Another segment's.
      if (fate === 4) await copyFile(path, join(this.journalFolder, names[this.pick(names.length)] ?? name));
      if (fate === 5) await flip(path, this.pick(192));
    }
  }
}

/** Turns a bit of sections or footer: pages and fences are checked when they are read. */
async function flip(path: string, fromEnd: number): Promise<void> {
  const { size } = await stat(path);
  await turnBit(path, Math.max(0, size - 1 - fromEnd));
}

async function expectDisks(volumes: readonly { readonly sizeBytes: number; read(offset: number, target: Uint8Array): unknown }[], expected: readonly Uint8Array[] | undefined, what: string): Promise<void> {
  for (const [i, volume] of volumes.entries()) {
    const bytes = new Uint8Array(volume.sizeBytes);
    // In parts, so that windows begin and end anywhere.
    for (let at = 0; at < bytes.byteLength; at += 10_007) await volume.read(at, bytes.subarray(at, at + 10_007));
    expect({ what, i, isEqual: Buffer.compare(bytes, expected?.[i] ?? new Uint8Array(0)) === 0 }).toEqual({ what, i, isEqual: true });
  }
}

describe('the index files of a journal', () => {
  it.each([1, 2, 3])('hold every version, whatever was merged, applied, freed, lost, torn or swapped between restarts (seed %d)', async (seed) => {
    const world = await new World(randomFrom(seed)).start();
    for (let round = 0; round < 5; round += 1) {
      for (let i = world.pick(120); i >= 0; i -= 1) {
        world.send();
        if (world.random() < 0.1) await world.checkpoint();
      }
      await world.checkpoint();
      if (world.random() < 0.5) await world.indexed();
      if (world.random() < 0.5) await world.retireSome();
      if (world.random() < 0.8) await world.reopen();
      await world.expectImages();
    }
    await world.bench.remove();
  });

  it('merge in powers of eight, and go with their segments', async () => {
    const world = await new World(randomFrom(9)).start();
    while (world.bench.journal.stats().segmentCount < 75) {
      for (let i = 0; i < 10; i += 1) world.send();
      await world.checkpoint();
      await world.indexed();
    }
    const spans = world.bench.journal.stats().indexFiles.map(({ firstSegment, lastSegment }) => lastSegment - firstSegment + 1);
    expect(spans[0]).toBe(64);
    for (const span of [1, 8]) expect(spans.filter((each) => each === span).length).toBeLessThan(8);
    const { retainedWrites, indexFiles } = world.bench.journal.stats();
    const indexed = indexFiles.reduce((sum, { entryCount }) => sum + entryCount, 0);
    expect(indexed).toBeGreaterThan(0.9 * retainedWrites);
    await world.expectImages();
    const held = world.bench.journal.checkpoints();
    const newest = held.at(-1)?.checkpointId ?? 0;
    await world.bench.journal.retire(newest);
    await world.bench.journal.allowApply(newest);
    await world.checkpoint();
    while (world.bench.journal.stats().indexFiles.some(({ lastSegment }) => lastSegment <= 64)) await sleep(2);
    expect((await readdir(world.journalFolder)).length).toBeLessThan(20);
    await world.expectImages();
    await world.bench.remove();
  });

  it('take at most 40 bytes a write, merged or not', async () => {
    const random = randomFrom(13);
    const bench = await FileBench.make({ volumeBytes: [64 * 1024 * 1024], segmentBytes: 512 * 1024 });
    await bench.base();
    const payload = new Uint8Array(512).fill(7);
    const writtenAt: number[] = [];
    while (bench.journal.stats().segmentCount < 12) {
      const records = Array.from({ length: 100 }, () => write(512 * Math.floor(131_072 * random()), payload));
      const last = bench.send(records);
      writtenAt.push(...records.map((_, i) => last - i));
      await (writtenAt.length % 1000 === 0 ? bench.checkpoint() : bench.durable(last));
    }
    while (bench.journal.stats().unindexedSegments > 0 || !bench.journal.stats().indexFiles.some(({ firstSegment, lastSegment }) => lastSegment > firstSegment)) await sleep(2);
    const sealedSeq = bench.journal.segments.at(-2)?.lastSeq ?? 0;
    const writes = writtenAt.filter((seq) => seq <= sealedSeq).length;
    const folder = join(bench.folder, 'journal');
    const sizes = await Promise.all((await readdir(folder)).filter((name) => name.endsWith('.index')).map(async (name) => (await stat(join(folder, name))).size));
    expect(writes).toBeGreaterThan(8000);
    expect(sizes.reduce((sum, bytes) => sum + bytes, 0) / writes).toBeLessThanOrEqual(40);
    await bench.remove();
  });

  it('are complete after a kill between any two of their steps', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-index-'));
    const world = await new World(randomFrom(5)).start({ folder: join(folder, '0'), files: indexSteps(() => true) });
    await world.fill(11);
    await world.checkpoint();
    await world.bench.journal.close();
    const { mirrors } = world.bench;
    let isDone = false;
    for (let killAt = 1; !isDone; killAt += 1) {
      await cp(join(folder, '0'), join(folder, String(killAt)), { recursive: true });
      let steps = 0;
      // From step `killAt` on nothing of the index reaches the disk.
      const files = indexSteps(() => (steps += 1) >= killAt);
      world.bench = await FileBench.make({ folder: join(folder, String(killAt)), mirrors, segmentBytes: SEGMENT_BYTES, files });
      world.bench.lastSeq = world.bench.durableSeq;
      while (steps < killAt && !world.isIndexed) await sleep(1);
      await world.expectImages();
      isDone = steps < killAt;
      await world.bench.journal.close();
      world.bench = await FileBench.make({ folder: join(folder, String(killAt)), mirrors, segmentBytes: SEGMENT_BYTES });
      await world.expectImages();
      await world.indexed();
      expect((await readdir(world.journalFolder)).filter((name) => name.endsWith('.temp'))).toEqual([]);
      const { indexFiles, segmentCount } = world.bench.journal.stats();
      const covered = indexFiles.flatMap(({ firstSegment, lastSegment }) => Array.from({ length: lastSegment - firstSegment + 1 }, (_, i) => firstSegment + i));
      expect(covered).toEqual(Array.from({ length: segmentCount - 1 }, (_, i) => i + 1));
      await world.bench.remove();
      if (isDone) expect(killAt).toBeGreaterThan(40);
    }
    await rm(folder, { recursive: true });
  });

  it('serve views out of memory while they cannot be written, and are written when they can', async () => {
    let isFull = true;
    const failures: unknown[] = [];
    const files = indexSteps(() => isFull);
    const world = await new World(randomFrom(11)).start({ files, onIndexFailed: (error: unknown) => failures.push(error) });
    await world.fill(5);
    await world.checkpoint();
    expect(world.bench.journal.stats().unindexedSegments).toBeGreaterThan(2);
    expect(failures.length).toBeGreaterThan(0);
    await world.expectImages();
    isFull = false;
    await world.fill(7);
    await world.indexed();
    await world.expectImages();
    await world.bench.remove();
  });
});

/** Real files; `isStopped` is asked before every step that changes an index file or its name. */
function indexSteps(isStopped: () => boolean): FileLayer {
  const check = (path: string): void => {
    if (path.includes('.index') && isStopped()) throw new Error('killed');
  };
  return {
    ...nodeFiles,
    async open(path, mode) {
      if (mode === 'create') check(path);
      const handle = await nodeFiles.open(path, mode);
      if (!path.includes('.index')) return handle;
      const { writeAll, dataSync } = { writeAll: handle.writeAll.bind(handle), dataSync: handle.dataSync.bind(handle) };
      handle.writeAll = async (chunks, at) => {
        if (isStopped()) {
          const [first] = chunks;
          if (first !== undefined) await writeAll([first.subarray(0, first.byteLength / 2)], at);
          throw new Error('killed');
        }
        await writeAll(chunks, at);
      };
      handle.dataSync = async () => {
        if (isStopped()) throw new Error('killed');
        await dataSync();
      };
      return handle;
    },
    async rename(from, to) {
      check(from);
      await nodeFiles.rename(from, to);
    },
    async remove(path) {
      check(path);
      await nodeFiles.remove(path);
    },
  };
}
