import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';
import { packBody, unpackBody } from './compression.js';

describe('compression of frame bodies', () => {
  it('packs what shrinks and gives it back whole', async () => {
    const chunks = [Buffer.alloc(5000, 'tide'), Buffer.alloc(7000, 'mark')];
    const raw = Buffer.concat(chunks);
    const { codec, chunks: packed } = await packBody(chunks, raw.length);
    expect(codec).toBe(FrameCodec.zstd);
    const body = Buffer.concat(packed);
    expect(body.length).toBeLessThan(1000);
    expect(raw.equals(unpackBody(codec, body, raw.length))).toBe(true);
  });

  it('leaves what does not shrink as it is', async () => {
    const chunks = [randomBytes(16_384)];
    await expect(packBody(chunks, 16_384)).resolves.toEqual({ codec: FrameCodec.none, chunks });
  });

  it('refuses a body that is larger or smaller than its header says, is damaged, or is of an unknown codec', async () => {
    const { chunks } = await packBody([Buffer.alloc(8192)], 8192);
    const body = Buffer.concat(chunks);
    expect(() => unpackBody(FrameCodec.zstd, body, 8191)).toThrow(ProtocolError);
    expect(() => unpackBody(FrameCodec.zstd, body, 8193)).toThrow(ProtocolError);
    expect(() => unpackBody(FrameCodec.zstd, body.subarray(0, body.length - 3), 8192)).toThrow(ProtocolError);
    expect(() => unpackBody(FrameCodec.lz4, body, 8192)).toThrow(/codec 1/);
  });
});
