import { randomFillSync } from 'node:crypto';
import { crc32c, JournalFile } from '@tidemark/journal-file';
import { encodeMarker, encodeRecordsBody, encodeSeal, encodeSyncStart, FrameCodec, FrameKind, RecordType } from '@tidemark/frame';

const RECORDS = 64;
const IN_FLIGHT_BYTES = 32 * 1024 * 1024;
const mark = (type, payload) => ({ type, volume: 0, offset: 0, length: 0, payload });

/** Options of a journal whose mirrors are `volumes`; `watch.durableSeq` follows. */
export function journalOptions({ folder, identity, volumes, watch }) {
  return {
    folder, identity, volumes, epoch: 1, clocks: { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() }, crc32c,
    onDurable: (seq) => watch.durable(seq), onCheckpointsChanged: () => undefined, onState: ({ phase, reason }) => phase !== 'open' && console.error(`journal ${phase}: ${reason}`),
  };
}

class Watch {
  durableSeq = 0;
  #waiting = [];
  durable(seq) {
    this.durableSeq = seq;
    for (const waiter of this.#waiting.splice(0)) waiter();
  }

  async until(seq) {
    while (this.durableSeq < seq) await new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/**
 * A journal of `writes` random writes of `payloadBytes`, one to a 4 KiB block, in uncompressed frames of 64, through the real writer with its fdatasyncs; one
 * checkpoint in the middle and one at the end.
 */
export async function makeJournal({ folder, identity, volumes, writes, payloadBytes }) {
  const watch = new Watch();
  const journal = await JournalFile.open(journalOptions({ folder, identity, volumes, watch }));
  const { incarnation } = await journal.beginIncarnation({ sessionId: 'bench', epoch: 1 });
  let lastSeq = 0;
  const send = (records) => {
    const body = Buffer.concat(encodeRecordsBody(records));
    const header = {
      kind: FrameKind.records, stream: 1, incarnation, epoch: 1, firstSeq: lastSeq + 1, lastSeq: lastSeq + records.length, count: records.length, bodyBytes: body.byteLength,
      rawBytes: body.byteLength, bodyCrc: crc32c(body), codec: FrameCodec.none,
    };
    journal.append(header, body, records);
    lastSeq += records.length;
  };
  const checkpoint = async (checkpointId) => {
    const { vpgId, vmId } = identity;
    send([mark(RecordType.marker, encodeMarker({ vpgId, checkpointId, epoch: 1, term: 1, vmIds: [vmId], atMs: 1, ageMs: 0, tag: null, kind: 'automatic' }))]);
    send([mark(RecordType.seal, encodeSeal({ vpgId, checkpointId, term: 1 }))]);
    await watch.until(lastSeq);
  };
  send([mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'bench' })), mark(RecordType.syncEnd)]);
  await watch.until(lastSeq);
  const payload = randomFillSync(Buffer.alloc(payloadBytes));
  const blocks = Math.floor(volumes[0].sizeBytes / 4096);
  const framesInFlight = Math.max(1, Math.floor(IN_FLIGHT_BYTES / (RECORDS * payloadBytes)));
  let isHalf = false;
  for (let done = 0; done < writes; done += RECORDS) {
    if (!isHalf && done >= writes / 2) {
      isHalf = true;
      await checkpoint(1);
    }
    const count = Math.min(RECORDS, writes - done);
    send(Array.from({ length: count }, () => ({ type: RecordType.write, volume: 0, offset: 4096 * Math.floor(Math.random() * blocks), length: payloadBytes, payload })));
    await watch.until(lastSeq - framesInFlight * RECORDS);
  }
  if (!isHalf) await checkpoint(1);
  await checkpoint(2);
  while (journal.stats().unindexedSegments > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  return journal;
}
