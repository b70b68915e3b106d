import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMarker, encodeRecordsBody, encodeSeal, encodeSyncStart, FrameCodec, FrameKind, RecordType, type StreamRecord } from '@tidemark/frame';
import { decodeSegmentHeader, JOURNAL_RECORD_HEADER_BYTES, JournalRecovery, RECORD_MAGIC, SEGMENT_AT, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, type SegmentFound } from '@tidemark/journal';
import { JournalFile } from '@tidemark/journal-file';
import { compressBody, crc32c, decompressBody } from '@tidemark/link';
import { MemoryVolume } from '@tidemark/volume';
import { Random } from '../sim/random.js';
import { mutated, noise } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const IDENTITY = { vpgId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', vmId: 'vm-1' };
const VOLUME_BYTES = 1 << 20;
const CHECKPOINTS = 12;

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });

async function openJournal(folder: string): Promise<{ readonly journal: JournalFile; durable(seq: number): Promise<void> }> {
  let durableSeq = 0;
  let wake = (): void => undefined;
  const journal = await JournalFile.open({
    folder, identity: IDENTITY, epoch: 1, segmentBytes: 16 * 1024, volumes: [{ sizeBytes: VOLUME_BYTES, mirror: new MemoryVolume({ sizeBytes: VOLUME_BYTES }) }],
    clocks: { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() },
    onDurable: (seq) => {
      durableSeq = seq;
      wake();
    },
    onCheckpointsChanged: () => undefined, onState: () => undefined,
  });
  return {
    journal,
    async durable(seq) {
      while (durableSeq < seq) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

/** Files of a journal with several segments, all codecs, checkpoints and control records: what every run starts from. Made by the journal itself. */
async function sampleFiles(): Promise<ReadonlyMap<string, Uint8Array>> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-fuzz-'));
  try {
    const { journal, durable } = await openJournal(folder);
    const { incarnation } = await journal.beginIncarnation({ sessionId: 's', epoch: 1 });
    const random = new Random(1);
    let lastSeq = 0;
    const send = (records: StreamRecord[], codec: FrameCodec): void => {
      const raw = Buffer.concat(encodeRecordsBody(records));
      const body = compressBody(codec, raw);
      const firstSeq = lastSeq + 1;
      lastSeq += records.length;
      journal.append({
        kind: FrameKind.records, stream: 1, incarnation, epoch: 1, count: records.length, firstSeq, lastSeq, bodyBytes: body.length, rawBytes: raw.length, bodyCrc: crc32c(body), codec,
      }, body, records);
    };
    send([mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'fuzz' })), mark(RecordType.syncEnd)], FrameCodec.none);
    for (let checkpointId = 1; checkpointId <= CHECKPOINTS; checkpointId += 1) {
      const writes = Array.from({ length: 6 }, (): StreamRecord => {
        const payload = random.chance(0.5) ? noise(512, random) : new Uint8Array(512).fill(checkpointId);
        return { type: RecordType.write, volume: 0, offset: random.int(16) * 512, length: 512, payload };
      });
      send(writes, random.pick([FrameCodec.none, FrameCodec.lz4, FrameCodec.zstd]));
      const marker = { ...IDENTITY, checkpointId, epoch: 1, term: 1, vmIds: ['vm-1'], atMs: 1.7e12 + checkpointId, ageMs: 0, tag: null, kind: 'automatic' as const };
      const { vpgId, epoch, term, vmIds, atMs, ageMs, tag, kind } = marker;
      send([mark(RecordType.marker, encodeMarker({ vpgId, checkpointId, epoch, term, vmIds, atMs, ageMs, tag, kind })), mark(RecordType.seal, encodeSeal({ vpgId, checkpointId, term }))], FrameCodec.none);
      await durable(lastSeq);
    }
    await thinAndCompact(journal);
    await journal.close();
    const files = new Map<string, Uint8Array>();
    for (const name of (await readdir(folder)).sort()) files.set(name, await readFile(join(folder, name)));
    if (![...files.keys()].some((name) => name.endsWith('.index'))) throw new FuzzViolation('the sample has no index file: its decoder would not be tried');
    return files;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** So that compacted segments and their index are tried too. */
async function thinAndCompact(journal: JournalFile): Promise<void> {
  await journal.thin(journal.checkpoints().map(({ checkpointId }) => checkpointId).filter((id) => id % 4 !== 0));
  while (journal.stats().unindexedSegments > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const { rewrittenSegments } = await journal.compact({ beforeSeq: Infinity, allow: () => Promise.resolve(), shouldStop: () => false, pause: () => Promise.resolve() });
  if (rewrittenSegments === 0) throw new FuzzViolation('the sample has no compacted segment: its header would not be tried');
}

/** Any of the fields that say what a compacted segment stands for. */
function changedEnds(bytes: Uint8Array, random: Random): Uint8Array {
  const result = bytes.slice();
  const view = new DataView(result.buffer);
  const at = SEGMENT_AT.compactedEndAt + 4 * random.int((SEGMENT_HEADER_BYTES - SEGMENT_AT.compactedEndAt) / 4);
  view.setUint32(at, random.pick([0, 1, 0xffff_ffff, view.getUint32(at, true) + 64, random.int(2 ** 31)]) >>> 0, true);
  view.setUint32(0, crc32c(result.subarray(4, SEGMENT_HEADER_BYTES)), true);
  return result;
}

let sample: Promise<ReadonlyMap<string, Uint8Array>> | undefined;
const sampled = (): Promise<ReadonlyMap<string, Uint8Array>> => (sample ??= sampleFiles());

/** A changed file: plain damage, or a record whose checksum was made right again, so that what is behind it must hold too. */
function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.5) || bytes.length < SEGMENT_HEADER_BYTES + JOURNAL_RECORD_HEADER_BYTES) return mutated(bytes, random);
  if (random.chance(0.2) && new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) === SEGMENT_MAGIC) return changedEnds(bytes, random);
  const result = bytes.slice();
  const view = new DataView(result.buffer);
  const places: number[] = random.chance(0.2) ? [0] : [];
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= result.length; at += 8) if (view.getUint32(at + 4, true) === RECORD_MAGIC) places.push(at);
  const at = places.length > 0 ? random.pick(places) : 0;
  const headerBytes = at === 0 ? SEGMENT_HEADER_BYTES : JOURNAL_RECORD_HEADER_BYTES;
  const header = mutated(result.subarray(at + 4, at + headerBytes), random);
  result.set(header.subarray(0, headerBytes - 4), at + 4);
  if (random.chance(0.9)) view.setUint32(at + 4, at === 0 ? SEGMENT_MAGIC : RECORD_MAGIC, true);
  view.setUint32(at, crc32c(result.subarray(at + 4, at + headerBytes)), true);
  return result;
}

const segmentNumber = (name: string): number | undefined => (name.endsWith('.segment') ? Number.parseInt(name, 10) : undefined);

const scan: FuzzTarget = {
  name: 'journal-scan',
  gateCount: 400,
  async run(random) {
    const files = [...(await sampled())].map(([name, bytes]) => ({ segment: segmentNumber(name), bytes })).filter((file) => file.segment !== undefined);
    const victim = random.int(files.length);
    const found = new Map<number, { readonly found: SegmentFound; readonly bytes: Uint8Array }>();
    for (const [index, { segment = 0, bytes }] of files.entries()) {
      if (index === victim && random.chance(0.1)) continue; // gone
      const now = index === victim ? damaged(bytes, random) : bytes;
      const header = now.length >= SEGMENT_HEADER_BYTES ? decodeSegmentHeader(now.subarray(0, SEGMENT_HEADER_BYTES), crc32c) : undefined;
      found.set(segment, { bytes: now, found: { segment, fileBytes: now.length, header } });
    }
    const recovery = new JournalRecovery({ identity: IDENTITY, epoch: 1, crc32c, decompress: decompressBody }, [...found.values()].map((each) => each.found));
    for (const { found: { segment }, limitBytes } of recovery.plan.segments) {
      const file = found.get(segment);
      if (file) recovery.feed(file.found, file.bytes.subarray(0, limitBytes));
    }
    for (const each of recovery.leftOut) recovery.feedLeftOut(each, found.get(each.found.segment)?.bytes ?? new Uint8Array());
    recovery.finish();
  },
};

/** The journal on disk, damaged in any of its files, index included: it opens or says why not; what it lists can be read or fails with a typed error. */
const files: FuzzTarget = {
  name: 'journal-files',
  gateCount: 25,
  async run(random) {
    const originals = [...(await sampled())];
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-fuzz-'));
    try {
      await mkdir(folder, { recursive: true });
      const victim = random.int(originals.length);
      for (const [index, [name, bytes]] of originals.entries()) {
        if (index === victim && random.chance(0.1)) continue;
        await writeFile(join(folder, name), index === victim ? damaged(bytes, random) : bytes);
      }
      const { journal } = await openJournal(folder);
      try {
        const held = journal.checkpoints();
        if (held.length > CHECKPOINTS) throw new FuzzViolation('checkpoints that were never made are listed');
        const target = new Uint8Array(4096);
        for (const { checkpointId } of held.slice(0, 3)) {
          const view = await journal.openView({ checkpointId });
          try {
            for (const volume of view.volumes) await volume.read(random.int(60) * 512, target);
          } finally {
            await view.close();
          }
        }
      } finally {
        await journal.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

export const JOURNAL_TARGETS: readonly FuzzTarget[] = [scan, files];
