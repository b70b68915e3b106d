import { assert } from '@tidemark/base';
import { isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import { isFrameKind, type MirrorReplay, Replay } from '@tidemark/journal';
import { storageFailure } from './defaults.js';
import type { FrameReader } from './frame-reader.js';
import type { JournalVolume } from './types.js';

/** Writes under way at once: each is a hop to the thread pool, so one after the other they leave the disk idle. */
const WRITES_MAX = 16;

/** Writes records into the mirror volumes. */
export class Mirrors {
  constructor(private readonly volumes: () => readonly JournalVolume[]) {}

  async write(records: readonly StreamRecord[]): Promise<void> {
    let together: StreamRecord[] = [];
    for (const record of records) {
      if (!isVolumeRecord(record.type)) continue;
      if (together.length === WRITES_MAX || together.some((other) => isOverlapping(other, record))) {
        await this.#writeTogether(together);
        together = [];
      }
      together.push(record);
    }
    await this.#writeTogether(together);
  }

  /** Records that do not overlap. Ends when all have ended: a failure must not be reported while writes are under way. */
  async #writeTogether(records: readonly StreamRecord[]): Promise<void> {
    const writes = records.map(async (record) => await this.#writeOne(record));
    await Promise.allSettled(writes);
    await Promise.all(writes);
  }

  async #writeOne({ type, volume, offset, length, payload }: StreamRecord): Promise<void> {
    const mirror = this.volumes()[volume]?.mirror;
    assert(mirror !== undefined, 'the record was checked against the volumes');
    if (mirror.sizeBytes === 0) return; // removed for good: no checkpoint that is held has it
    const isZeroes = type === RecordType.zeroes || type === RecordType.syncZeroes;
    if (isZeroes || payload === undefined) await mirror.writeZeroes(offset, length, { mayUnmap: true });
    else await mirror.write(offset, payload);
  }

  /** Carries out a `mirrorReplay`: how far it came. */
  async replay(effect: MirrorReplay, reader: FrameReader): Promise<Replay> {
    const replay = new Replay(effect);
    while (!replay.isDone) {
      const { header, records, seqs } = await recordOf(effect.segment, replay, reader);
      if (!isFrameKind(header.kind)) replay.skip(header.bodyBytes);
      else await this.write(replay.frame(header, { records, seqs }));
    }
    return replay;
  }

  async flush(): Promise<void> {
    await Promise.all(this.volumes().map(async ({ mirror }) => await mirror.flush()));
  }
}

const isOverlapping = (a: StreamRecord, b: StreamRecord): boolean =>
  a.volume === b.volume && a.offset < b.offset + b.length && b.offset < a.offset + a.length;

/** Says that it is the journal which the disk does not give back, and not a mirror volume. */
async function recordOf(segment: number, replay: Replay, reader: FrameReader): ReturnType<FrameReader['record']> {
  const { at } = replay;
  try {
    const record = await reader.record({ segment, at });
    if (!replay.isNext(record.header)) throw new Error(`record ${record.header.recordNo} lies in the place of record ${replay.recordNo}`);
    return record;
  } catch (cause) {
    throw new Error(`what is to be applied cannot be read from segment ${segment} at byte ${at}: ${storageFailure(cause).detail}`, { cause });
  }
}
