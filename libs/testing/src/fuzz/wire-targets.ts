import { decodeControlMessage } from '@tidemark/checkpoint';
import {
  agree, decodeAck, decodeControl, decodeHello, decodeMarker, decodeOpen, decodeOpened, decodeRecords, decodeRefused, decodeSeal, decodeSyncStart, encodeAck, encodeFrame, encodeHello, encodeMarker,
  encodeOpen, encodeOpened, encodeRecordsBody, encodeRecordsFrame, encodeRefused, encodeSeal, encodeSyncStart, FrameCodec, FrameDecoder, FrameKind, OWN_HELLO, RecordType, type FrameHeader,
  type StreamRecord,
} from '@tidemark/frame';
import { compressBody, crc32c, decompressBody } from '@tidemark/link';
import { Receiver, type ReceiverEffect } from '@tidemark/replication';
import type { Random } from '../sim/random.js';
import { joined, mutated, mutatedJson, noise, pieces } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const VOLUMES = [1 << 20, 1 << 16];
const MARKER = { vpgId: 'vpg', checkpointId: 7, epoch: 1, term: 2, vmIds: ['vm', 'vm2'], atMs: 1.7e12, ageMs: 1.5, tag: null, kind: 'automatic' } as const;
const OPEN = { vpgId: 'vpg', vmId: 'vm', epoch: 1, sessionId: 's', volumes: VOLUMES, firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
const OPENED = { incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: true, isPreseeded: false, creditBytes: 1 << 24 };
const CONTROL: readonly object[] = [
  { type: 'barrier', kind: 'mark', vpgId: 'v', version: 1, epoch: 1, term: 1, checkpointId: 3, atMs: 1e12, elapsedMs: 1, tag: null, checkpointKind: 'automatic', vmIds: ['a'], deadlineMs: 50 },
  { type: 'barrier', kind: 'marked', vpgId: 'v', version: 1, epoch: 1, term: 1, checkpointId: 3 },
  { type: 'barrier', kind: 'hello', vpgId: 'v', version: 1, epoch: 1, term: 0 },
  { type: 'barrier', kind: 'refused', vpgId: 'v', version: 1, epoch: 1, term: 0, checkpointId: 1, reason: 'no' },
  { type: 'retirement', kind: 'retire', vpgId: 'v', checkpointId: 3, round: 1 },
  { type: 'retirement', kind: 'ask', vpgId: 'v', round: 1 },
  { type: 'hello', vraId: 'r1' },
];

const mark = (type: RecordType, payload?: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });

function someRecords(random: Random): StreamRecord[] {
  return Array.from({ length: 1 + random.int(6) }, (): StreamRecord => {
    const volume = random.int(2);
    const offset = random.int((VOLUMES[volume] ?? 0) - 8192);
    switch (random.int(7)) {
      case 0: return mark(RecordType.marker, encodeMarker(MARKER));
      case 1: return mark(RecordType.seal, encodeSeal({ vpgId: 'vpg', checkpointId: 7, term: 2 }));
      case 2: return mark(RecordType.syncStart, encodeSyncStart({ kind: 'bitmapSync', reason: 'fuzz' }));
      case 3: return mark(RecordType.syncEnd);
      case 4: return { type: RecordType.zeroes, volume, offset, length: 1 + random.int(8192), payload: undefined };
      default: {
        const payload = noise(1 + random.int(300), random);
        return { type: random.chance(0.5) ? RecordType.write : RecordType.syncWrite, volume, offset, length: payload.length, payload };
      }
    }
  });
}

/** Whole frames of every kind as a peer sends them. */
function someFrame(random: Random): Uint8Array {
  const stream = 1 + random.int(3);
  const json = (kind: FrameKind, body: Uint8Array): Uint8Array[] => encodeFrame({ kind, stream }, [body], crc32c);
  switch (random.int(9)) {
    case 0: return joined(encodeHello({ ...OWN_HELLO, features: random.int(16) }, crc32c));
    case 1: return joined(json(FrameKind.open, encodeOpen(OPEN)));
    case 2: return joined(json(FrameKind.opened, encodeOpened(OPENED)));
    case 3: return joined(json(FrameKind.refused, encodeRefused({ code: 'notReady', message: 'later' })));
    case 4: return joined(encodeFrame({ kind: FrameKind.ack, stream, lastSeq: 9 }, [encodeAck(1 << 24)], crc32c));
    case 5: return joined(encodeFrame({ kind: FrameKind.ping }, [noise(8, random)], crc32c));
    case 6: return joined(json(FrameKind.control, Buffer.from(JSON.stringify(random.pick(CONTROL)))));
    default: return joined(encodeRecordsFrame({ stream, incarnation: 1, epoch: 1, firstSeq: 1 + random.int(5) }, someRecords(random), crc32c));
  }
}

/** A peer that means harm has right checksums: fields and body are changed, and then summed again. */
function resealed(frame: Uint8Array, random: Random): Uint8Array {
  const header = mutated(frame.subarray(0, 64), random);
  const body = random.chance(0.5) ? mutated(frame.subarray(64), random) : frame.slice(64);
  if (header.length !== 64) return joined([header, body]);
  const view = new DataView(header.buffer, header.byteOffset, 64);
  if (random.chance(0.9)) view.setUint32(4, 0x4b4d4454, true);
  if (random.chance(0.9)) view.setUint16(8, 1, true);
  if (random.chance(0.7)) view.setUint32(40, body.length, true);
  if (random.chance(0.6)) view.setUint32(44, body.length, true);
  if (random.chance(0.9)) view.setUint32(48, crc32c(body), true);
  if (random.chance(0.8)) [53, 54, 55, 60, 61, 62, 63].forEach((at) => view.setUint8(at, 0));
  view.setUint32(0, crc32c(header.subarray(4)), true);
  return joined([header, body]);
}

/** What the ends of 4007 and 4008 do with a frame that passed. */
function decodeWhole(header: FrameHeader, body: Uint8Array): void {
  switch (header.kind) {
    case FrameKind.hello: return void agree(OWN_HELLO, decodeHello(body));
    case FrameKind.open: return void decodeOpen(body);
    case FrameKind.opened: return void decodeOpened(body);
    case FrameKind.refused: return void decodeRefused(body);
    case FrameKind.ack: return void decodeAck(body);
    case FrameKind.control:
      decodeControl(body);
      return void decodeControlMessage(body);
    case FrameKind.records: {
      const raw = decompressBody(header.codec, body, header.rawBytes);
      for (const record of decodeRecords(header, raw, VOLUMES)) decodeMark(record);
      return;
    }
    default: return;
  }
}

function decodeMark({ type, payload }: StreamRecord): void {
  if (type === RecordType.marker) decodeMarker(payload ?? new Uint8Array(0));
  else if (type === RecordType.seal) decodeSeal(payload ?? new Uint8Array(0));
  else if (type === RecordType.syncStart) decodeSyncStart(payload ?? new Uint8Array(0));
}

const frames: FuzzTarget = {
  name: 'frames',
  gateCount: 3000,
  run(random) {
    const input = joined(Array.from({ length: 1 + random.int(4) }, () => {
      const frame = someFrame(random);
      return random.chance(0.4) ? frame : random.chance(0.6) ? resealed(frame, random) : mutated(frame, random);
    }));
    const decoder = new FrameDecoder({ crc32c });
    for (const piece of pieces(input, random)) decoder.feed(piece, decodeWhole);
  },
};

const records: FuzzTarget = {
  name: 'records',
  gateCount: 3000,
  run(random) {
    const list = someRecords(random);
    const body = mutated(joined(encodeRecordsBody(list)), random);
    const count = random.chance(0.8) ? list.length : random.pick([0, 1, 65_536, 2 ** 32 - 1]);
    const header: FrameHeader = { kind: FrameKind.records, stream: 1, incarnation: 1, epoch: 1, count, firstSeq: 1, lastSeq: count, bodyBytes: body.length, rawBytes: body.length, bodyCrc: 0, codec: FrameCodec.none };
    for (const record of decodeRecords(header, body, VOLUMES)) {
      decodeMark(record);
      const isInside = record.type > RecordType.syncZeroes || record.offset + record.length <= (VOLUMES[record.volume] ?? -1);
      if (!isInside) throw new FuzzViolation('a record outside its volume was taken');
    }
  },
};

const codecs: FuzzTarget = {
  name: 'codecs',
  gateCount: 800,
  run(random) {
    const codec = random.pick([FrameCodec.lz4, FrameCodec.zstd]);
    const raw = random.chance(0.5) ? noise(1 + random.int(3000), random) : new Uint8Array(1 + random.int(200_000)).fill(random.int(256));
    const body = random.chance(0.1) ? noise(random.int(200), random) : mutated(compressBody(codec, raw), random);
    if (codec === FrameCodec.lz4 && body.length >= 4 && random.chance(0.8)) new DataView(body.buffer, body.byteOffset).setUint32(0, raw.length, true);
    const rawBytes = random.chance(0.8) ? raw.length : random.pick([0, 1, raw.length - 1, raw.length + 1, 1 << 20]);
    const result = decompressBody(codec, body, rawBytes);
    if (result.length !== rawBytes) throw new FuzzViolation('decompressed to another length');
  },
};

const control: FuzzTarget = {
  name: 'control',
  gateCount: 2000,
  run(random) {
    const body = Buffer.from(mutatedJson(random.pick(CONTROL), random));
    decodeControl(body);
    decodeControlMessage(body);
  },
};

const bodies: FuzzTarget = {
  name: 'bodies',
  gateCount: 2000,
  run(random) {
    const bytes = (value: object): Buffer => Buffer.from(mutatedJson(value, random));
    switch (random.int(5)) {
      case 0: return void decodeOpen(bytes(OPEN));
      case 1: return void decodeOpened(bytes(OPENED));
      case 2: return void decodeRefused(bytes({ code: 'fenced', message: 'x' }));
      case 3: return void decodeMarker(bytes(MARKER));
      default: return void decodeSyncStart(bytes({ kind: 'deltaSync', reason: 'r' }));
    }
  },
};

/** The receiving engine under an order of openings, frames, losses and journal states that no honest peer makes. */
const receiver: FuzzTarget = {
  name: 'receiver',
  gateCount: 1000,
  run(random) {
    const engine = new Receiver({ vpgId: 'vpg', vmId: 'vm', epoch: 1, volumeSizesBytes: VOLUMES });
    const effects: ReceiverEffect[] = [];
    engine.journalState('ready', effects);
    let [appendedSeq, durableSeq, incarnation, openId] = [0, 0, 0, 0];
    for (let steps = 0; steps < 40; steps += 1) {
      for (const effect of effects.splice(0)) {
        if (effect.kind === 'beginIncarnation') {
          openId = effect.openId;
          appendedSeq = durableSeq;
        } else if (effect.kind === 'append') {
          if (effect.header.firstSeq <= appendedSeq) throw new FuzzViolation('a frame was appended twice');
          appendedSeq = effect.header.lastSeq;
        } else if (effect.kind === 'sendAck' && effect.durableSeq > durableSeq) throw new FuzzViolation('acknowledged before it was durable');
      }
      const connection = 1 + random.int(3);
      try {
        switch (random.int(6)) {
          case 0:
            engine.open(connection, { ...OPEN, epoch: 1 + random.int(2), ackedSeq: random.int(20) }, effects);
            break;
          case 1:
            incarnation += 1;
            engine.incarnationBegan({ openId, isBegun: true, incarnation, durableSeq, lastSessionId: null, isBaseComplete: true }, effects);
            break;
          case 2:
            engine.connectionLost(connection);
            break;
          case 3:
            durableSeq = appendedSeq;
            engine.durable(durableSeq, effects);
            break;
          default: {
            const list = someRecords(random);
            const firstSeq = random.chance(0.7) ? appendedSeq + 1 : random.int(30) + 1;
            const rawBytes = random.chance(0.8) ? 500 : 33 << 20;
            engine.frame(connection, {
              kind: FrameKind.records, stream: 1, incarnation, epoch: 1, count: list.length, firstSeq, lastSeq: firstSeq + list.length - 1, bodyBytes: rawBytes, rawBytes, bodyCrc: 0, codec: FrameCodec.none,
            }, list, effects);
          }
        }
      } catch (error) {
        // A protocol error ends the connection, and the engine goes on.
        if ((error as { readonly name?: string }).name !== 'ProtocolError') throw error;
        engine.connectionLost(connection);
      }
      if (engine.status().pendingBytes > 2 * (33 << 20) + (16 << 20)) throw new FuzzViolation('holds more than window and frame');
    }
  },
};

export const WIRE_TARGETS: readonly FuzzTarget[] = [frames, records, codecs, control, bodies, receiver];
