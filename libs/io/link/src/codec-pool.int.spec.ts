import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB, ProtocolError } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';
import { CodecPool, compressBody, decompressBody, type CodecPoolOptions } from './index.js';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function poolOf(options: CodecPoolOptions = {}): CodecPool {
  const pool = new CodecPool(options);
  closers.push(() => pool.close());
  return pool;
}

const TEXT = Buffer.alloc(300_000, 'every write of a protected VM is captured; ');
const CODECS = [FrameCodec.lz4, FrameCodec.zstd];

describe('bodies of frames', () => {
  it('come back whole from each codec', () => {
    for (const codec of [FrameCodec.none, ...CODECS]) {
      for (const raw of [TEXT, randomBytes(100_000), Buffer.of(1)]) expect(raw.equals(decompressBody(codec, compressBody(codec, raw), raw.length))).toBe(true);
    }
  });

  it('that are longer or shorter than their header says, cut or empty are refused', () => {
    for (const codec of CODECS) {
      const body = compressBody(codec, TEXT);
      for (const [bytes, rawBytes] of [[body, TEXT.length - 1], [body, TEXT.length + 1], [body.subarray(0, body.length - 3), TEXT.length], [new Uint8Array(0), 10], [body, 0]] as const) {
        expect(() => decompressBody(codec, bytes, rawBytes)).toThrow(ProtocolError);
      }
    }
  });

  it('that are bombs are refused without the memory they ask for', () => {
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decompressBody(FrameCodec.zstd, compressBody(FrameCodec.zstd, Buffer.alloc(256 * MiB)), 64 * 1024)).toThrow(ProtocolError);
    const block = Buffer.from(compressBody(FrameCodec.lz4, Buffer.alloc(4 * MiB)));
    block.writeUInt32LE(0xffff_ffff, 0);
    expect(() => decompressBody(FrameCodec.lz4, block, 64 * 1024)).toThrow(ProtocolError);
    block.writeUInt32LE(64 * 1024, 0);
    expect(() => decompressBody(FrameCodec.lz4, block, 64 * 1024)).toThrow(ProtocolError);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(300 * MiB);
  });
});

describe('codec workers', () => {
  it('compress and decompress off the event loop', async () => {
    const pool = poolOf();
    for (const codec of CODECS) {
      const raw = pool.buffer(TEXT.length);
      raw.set(TEXT);
      const packed = await pool.compress({ codec, raw, rawBytes: TEXT.length, packedBytesMax: TEXT.length });
      expect(packed.bytes?.byteLength).toBe(packed.packedBytes);
      expect(TEXT.equals(await pool.decompress(codec, packed.bytes ?? new Uint8Array(0), TEXT.length))).toBe(true);
    }
  });

  it('give no bytes back for what does not shrink', async () => {
    const pool = poolOf();
    const raw = pool.buffer(100_000);
    raw.set(randomBytes(100_000));
    const packed = await pool.compress({ codec: FrameCodec.zstd, raw, rawBytes: 100_000, packedBytesMax: 87_500 });
    expect(packed.bytes).toBeUndefined();
    expect(packed.packedBytes).toBeGreaterThan(99_000);
  });

  it('refuse what does not decompress, and go on', async () => {
    const pool = poolOf();
    await expect(pool.decompress(FrameCodec.zstd, randomBytes(1000), 5000)).rejects.toBeInstanceOf(ProtocolError);
    const body = compressBody(FrameCodec.zstd, TEXT);
    expect((await pool.decompress(FrameCodec.zstd, body, TEXT.length)).byteLength).toBe(TEXT.length);
  });

  it('keep the queue within its bound', async () => {
    const pool = poolOf({ workers: 1 });
    const all = await Promise.allSettled(Array.from({ length: 200 }, () => pool.decompress(FrameCodec.zstd, compressBody(FrameCodec.zstd, TEXT), TEXT.length)));
    expect(all.filter(({ status }) => status === 'rejected').length).toBe(200 - 64 - 1);
  });

  it('that die reject their job, are reported, and are started again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-codec-'));
    closers.push(() => rm(folder, { recursive: true }));
    const program = join(folder, 'worker.mjs');
    // Dies of the first job, echoes later ones.
    await writeFile(program, `
      import { existsSync, writeFileSync } from 'node:fs';
      import { parentPort } from 'node:worker_threads';
      parentPort.on('message', ({ jobId, bytes }) => {
        if (!existsSync('${folder}/died')) { writeFileSync('${folder}/died', ''); process.exit(3); }
        parentPort.postMessage({ jobId, bytes, spare: undefined, error: undefined, cpuMs: 0 });
      });`);
    const lost: string[] = [];
    const pool = poolOf({ workers: 1, program: pathToFileURL(program), onWorkerLost: (error) => lost.push(error.message) });
    await expect(pool.decompress(FrameCodec.zstd, TEXT, 5)).rejects.toMatchObject({ code: 'LINK_CODEC' });
    expect(lost).toEqual(['codec worker ended with 3']);
    await expect(pool.decompress(FrameCodec.zstd, TEXT, 5)).rejects.toMatchObject({ code: 'LINK_CODEC' });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect((await pool.decompress(FrameCodec.zstd, TEXT, 5)).byteLength).toBe(TEXT.length);
  });
});
