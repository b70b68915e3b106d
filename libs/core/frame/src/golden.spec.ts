import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { crc32cTable as crc32c } from '@tidemark/base/testing';
import {
  decodeAck, decodeControl, decodeHashReply, decodeHashRequest, decodeHello, decodeMarker, decodeOpen, decodeOpened, decodeRecords, decodeRefused, decodeSeal, decodeSyncStart, encodeAck, encodeFrame,
  encodeHashReply, encodeHashRequest, encodeHello, encodeJson, encodeMarkerWithRoom, encodeOpen, encodeOpened, encodeRecordsFrame, encodeRefused, encodeSeal, encodeSyncStart, FrameCodec, FrameDecoder, FrameKind,
  OWN_HELLO, RecordType, type CheckpointMarker, type FrameHeader, type StreamRecord,
} from './index.js';
import { joined } from './testing/arbitraries.js';

/** Made by an independent encoder (Python's struct and a bitwise CRC-32C); a change of these bytes is a change of the format. */
const golden = JSON.parse(readFileSync(new URL('../testdata/frame-v1.json', import.meta.url), 'utf8')) as Record<string, string>;

const bytesOf = (name: string): Uint8Array => new Uint8Array(Buffer.from(golden[name] ?? '', 'hex'));
const hex = (chunks: readonly Uint8Array[]): string => Buffer.from(joined(chunks)).toString('hex');

function frameIn(name: string): { readonly header: FrameHeader; readonly body: Uint8Array } {
  const frames: { header: FrameHeader; body: Uint8Array }[] = [];
  new FrameDecoder({ crc32c }).feed(bytesOf(name), (header, body) => frames.push({ header, body: body.slice() }));
  const [frame] = frames;
  if (!frame) throw new Error(`no frame ${name}`);
  return frame;
}

const STREAM = { stream: 7, incarnation: 3, epoch: 2 } as const;
const CHECKPOINT_ID = 2 ** 24 + 5;
const OPEN = { vpgId: 'v', vmId: 'm', epoch: 1, sessionId: 's', volumes: [4096], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
const OPENED = { incarnation: 4, durableSeq: 2 ** 33, lastSessionId: 's', isBaseComplete: true, isPreseeded: false, copyingVolumes: [1], creditBytes: 2 ** 24, newestCheckpointId: CHECKPOINT_ID, basisId: 'b' };
const OPENED_NEW = { incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: true, copyingVolumes: [], creditBytes: 0, newestCheckpointId: 0, basisId: null };
const REFUSED = { code: 'fenced', message: 'epoch 3 is in force' } as const;
const EXTENT = { volume: 1, offset: 2 * 4096, length: 2 * 4096 + 100 };
const DIGESTS = frameIn('hashReply').body.subarray(16);
const MARKER: CheckpointMarker = {
  vpgId: 'vpg', checkpointId: CHECKPOINT_ID, epoch: 2, term: 2, vmIds: ['vm-1', 'vm-2'], atMs: 1_763_800_000_000.5, ageMs: 3.25, tag: 'vor dem Umbau ä', kind: 'tagged',
};
const SEAL = { vpgId: 'vpg', checkpointId: CHECKPOINT_ID, term: 2 };
const SYNC_START = { kind: 'bitmapSync', reason: 'Network Congestion: 3 MiB' } as const;

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });
const TWO: readonly StreamRecord[] = [
  { type: RecordType.write, volume: 1, offset: 4096, length: 3, payload: Uint8Array.of(1, 2, 3) },
  { type: RecordType.zeroes, volume: 0, offset: 8192, length: 4096, payload: undefined },
];
const OF_EACH_TYPE: Record<keyof typeof RecordType, StreamRecord> = {
  write: TWO[0] ?? mark(RecordType.syncEnd),
  zeroes: TWO[1] ?? mark(RecordType.syncEnd),
  syncWrite: { type: RecordType.syncWrite, volume: 0, offset: 0, length: 4, payload: Uint8Array.of(4, 5, 6, 7) },
  syncZeroes: { type: RecordType.syncZeroes, volume: 1, offset: 2 ** 33, length: 2 ** 31, payload: undefined },
  marker: mark(RecordType.marker, encodeMarkerWithRoom(MARKER)),
  seal: mark(RecordType.seal, encodeSeal(SEAL)),
  syncStart: mark(RecordType.syncStart, encodeSyncStart(SYNC_START)),
  syncEnd: mark(RecordType.syncEnd),
};
const compressed = (name: string, codec: FrameCodec): Uint8Array[] => {
  const { body } = frameIn(name);
  return encodeFrame({ ...STREAM, kind: FrameKind.records, firstSeq: 10, lastSeq: 11, count: 2, codec, rawBytes: 51 }, [body], crc32c);
};
const onStream = (kind: FrameKind, ...body: readonly Uint8Array[]): Uint8Array[] => encodeFrame({ kind, stream: 7 }, body, crc32c);

/** By frame kind, each with the frames of that kind and what their bodies say: a new kind without golden bytes does not compile. */
const FRAMES: Record<keyof typeof FrameKind, Readonly<Record<string, { readonly encoded: Uint8Array[]; readonly decoded?: (body: Uint8Array) => unknown; readonly says?: unknown }>>> = {
  open: { open: { encoded: encodeFrame({ kind: FrameKind.open, stream: 7, epoch: 2 }, [encodeOpen(OPEN)], crc32c), decoded: decodeOpen, says: OPEN } },
  opened: {
    opened: { encoded: onStream(FrameKind.opened, encodeOpened(OPENED)), decoded: decodeOpened, says: OPENED },
    openedNew: { encoded: onStream(FrameKind.opened, encodeOpened(OPENED_NEW)), decoded: decodeOpened, says: OPENED_NEW },
  },
  refused: { refused: { encoded: onStream(FrameKind.refused, encodeRefused(REFUSED)), decoded: decodeRefused, says: REFUSED } },
  records: {
    records: { encoded: encodeRecordsFrame({ ...STREAM, firstSeq: 10 }, TWO, crc32c) },
    recordsOfEachType: { encoded: encodeRecordsFrame({ ...STREAM, firstSeq: 2 ** 33 }, Object.values(OF_EACH_TYPE), crc32c) },
    recordsLz4: { encoded: compressed('recordsLz4', FrameCodec.lz4) },
    recordsZstd: { encoded: compressed('recordsZstd', FrameCodec.zstd) },
  },
  ack: { ack: { encoded: encodeFrame({ kind: FrameKind.ack, stream: 7, lastSeq: 11 }, [encodeAck(2 ** 24)], crc32c), decoded: decodeAck, says: 2 ** 24 } },
  closeStream: { closeStream: { encoded: onStream(FrameKind.closeStream) } },
  ping: { ping: { encoded: encodeFrame({ kind: FrameKind.ping }, [Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7)], crc32c) } },
  pong: { pong: { encoded: encodeFrame({ kind: FrameKind.pong }, [Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7)], crc32c) } },
  hello: { hello: { encoded: encodeHello(OWN_HELLO, crc32c), decoded: decodeHello, says: OWN_HELLO } },
  hashRequest: {
    hashRequest: {
      encoded: onStream(FrameKind.hashRequest, encodeHashRequest({ ...EXTENT, atSeq: 2 ** 40 })),
      decoded: (body) => decodeHashRequest(body, [0, EXTENT.offset + EXTENT.length]), says: { ...EXTENT, atSeq: 2 ** 40 },
    },
  },
  hashReply: Object.fromEntries(([['hashReply', DIGESTS], ['hashReplyZeroes', 'zeroes'], ['hashReplyUnreadable', 'unreadable']] as const).map(([name, hashes]) =>
    [name, { encoded: onStream(FrameKind.hashReply, ...encodeHashReply({ ...EXTENT, hashes })), decoded: decodeHashReply, says: { ...EXTENT, hashes } }])),
  control: {
    control: {
      encoded: encodeFrame({ kind: FrameKind.control }, [encodeJson({ type: 'hello', vraId: 'vra-1' })], crc32c),
      decoded: (body) => { const { type, fields } = decodeControl(body); return { type, vraId: fields.text('vraId', 64) }; }, says: { type: 'hello', vraId: 'vra-1' },
    },
  },
};
const ALL = Object.entries(FRAMES).flatMap(([kind, frames]) => Object.entries(frames).map(([name, frame]) => ({ kind: kind as keyof typeof FrameKind, name, ...frame })));

describe('bytes of frames, version 1', () => {
  it('are there for each of them, and for nothing else', () => {
    expect(Object.keys(golden).sort()).toEqual(ALL.map(({ name }) => name).sort());
  });

  it.each(ALL)('of $name are encoded as ever', ({ name, encoded }) => {
    expect(hex(encoded)).toBe(golden[name]);
  });

  it.each(ALL)('of $name say what they always said', ({ name, kind, decoded, says }) => {
    const { header, body } = frameIn(name);
    expect(header.kind).toBe(FrameKind[kind]);
    if (decoded) expect(decoded(body)).toEqual(says);
  });

  it('of records of each type say what they always said', () => {
    const { header, body } = frameIn('recordsOfEachType');
    const records = decodeRecords(header, body);
    expect(records).toEqual(Object.values(OF_EACH_TYPE));
    expect(records.map(({ type }) => type)).toEqual(Object.values(RecordType));
    const payload = (type: RecordType): Uint8Array => records.find((record) => record.type === type)?.payload ?? new Uint8Array();
    expect([decodeMarker(payload(RecordType.marker)), decodeSeal(payload(RecordType.seal)), decodeSyncStart(payload(RecordType.syncStart))]).toEqual([MARKER, SEAL, SYNC_START]);
    expect(header).toMatchObject({ ...STREAM, firstSeq: 2 ** 33, lastSeq: 2 ** 33 + 7, count: 8 });
  });
});
