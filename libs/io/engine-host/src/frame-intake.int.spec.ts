import { randomBytes } from 'node:crypto';
import { afterAll, describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { FrameCodec, FrameKind, type FrameHeader } from '@tidemark/frame';
import { CodecPool, compressBody } from '@tidemark/link';
import { FrameIntake } from './frame-intake.js';

const codecs = new CodecPool({ workers: 2 });
afterAll(() => codecs.close());

const frameOf = (firstSeq: number, raw: Uint8Array, codec: FrameCodec): { connection: number; header: FrameHeader; body: Uint8Array } => {
  const body = compressBody(codec, raw);
  const header = { kind: FrameKind.records, stream: 1, incarnation: 1, epoch: 1, count: 1, firstSeq, lastSeq: firstSeq, bodyBytes: body.byteLength, rawBytes: raw.byteLength, bodyCrc: 0, codec } as const;
  return { connection: 7, header, body };
};

function intake(): { readonly intake: FrameIntake; readonly taken: number[]; readonly raws: Uint8Array[]; readonly failed: unknown[]; wait(count: number): Promise<void> } {
  const taken: number[] = [];
  const raws: Uint8Array[] = [];
  const failed: unknown[] = [];
  const made = new FrameIntake({
    codecs,
    take: ({ header }, raw) => {
      taken.push(header.firstSeq);
      raws.push(raw);
    },
    failed: (connection, error) => failed.push([connection, error]),
  });
  return {
    intake: made, taken, raws, failed,
    async wait(count) {
      for (let tries = 0; taken.length + failed.length < count && tries < 500; tries += 1) await new Promise((resolve) => setTimeout(resolve, 5));
    },
  };
}

describe('frames that come in', () => {
  it('keep their order, whatever the codec, the length and the worker', async () => {
    const { intake: made, taken, raws, wait } = intake();
    const sizes = [400_000, 100, 70_000, 300_000, 5000, 66_000, 200, 500_000];
    const codecOf = [FrameCodec.zstd, FrameCodec.none, FrameCodec.lz4];
    const sent = sizes.map((bytes) => Buffer.concat([randomBytes(bytes / 2), Buffer.alloc(bytes / 2)]));
    sent.forEach((raw, index) => made.push(frameOf(index + 1, raw, codecOf[index % 3] ?? FrameCodec.none)));
    await wait(sizes.length);
    expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(sent.every((raw, index) => raw.equals(raws[index] ?? new Uint8Array(0)))).toBe(true);
  });

  it('that do not decompress end their connection, in their turn', async () => {
    const { intake: made, taken, failed, wait } = intake();
    made.push(frameOf(1, Buffer.alloc(300_000), FrameCodec.zstd));
    const bad = frameOf(2, Buffer.alloc(300_000), FrameCodec.zstd);
    made.push({ ...bad, body: randomBytes(1000) });
    await wait(2);
    expect(taken).toEqual([1]);
    expect(failed).toEqual([[7, expect.any(ProtocolError)]]);
  });

  it('are bounded: more than any credit allows ends the connection', () => {
    const { intake: made } = intake();
    expect(() => {
      for (let seq = 1; seq < 100; seq += 1) made.push(frameOf(seq, Buffer.alloc(1_000_000), FrameCodec.zstd));
    }).toThrow(ProtocolError);
  });

  it('of a connection that is gone are passed over', async () => {
    const { intake: made, taken, wait } = intake();
    made.push(frameOf(1, Buffer.alloc(300_000), FrameCodec.zstd));
    made.push(frameOf(2, Buffer.alloc(300_000), FrameCodec.zstd));
    made.forget(7);
    made.push({ ...frameOf(3, Buffer.alloc(300_000), FrameCodec.lz4), connection: 8 });
    await wait(1);
    expect(taken).toEqual([3]);
  });
});
