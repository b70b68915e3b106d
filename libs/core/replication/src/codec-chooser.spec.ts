import { describe, expect, it } from '@jest/globals';
import { FrameCodec } from '@tidemark/frame';
import { CodecChooser, type CodecSituation } from './index.js';

const RAW = 512 * 1024;
const CALM: CodecSituation = { isBacklogged: false, linkBytesPerSecond: Infinity, freeWorkers: 1 };
const COST = { [FrameCodec.none]: 0, [FrameCodec.lz4]: 1, [FrameCodec.zstd]: 3 } as const;

/** Frames of data that lz4 and zstd shrink to these shares; ms of CPU per frame as in COST. */
function send(chooser: CodecChooser, frames: number, data: { readonly lz4: number; readonly zstd: number }, situation: CodecSituation): FrameCodec[] {
  return Array.from({ length: frames }, () => {
    const codec = chooser.choose(situation);
    const share = codec === FrameCodec.zstd ? data.zstd : codec === FrameCodec.lz4 ? data.lz4 : 1;
    chooser.measured({ codec, rawBytes: RAW, packedBytes: RAW * share, cpuMs: COST[codec] });
    return codec;
  });
}

const shareOf = (codecs: readonly FrameCodec[], codec: FrameCodec): number => codecs.filter((each) => each === codec).length / codecs.length;
const TEXT = { lz4: 0.5, zstd: 0.3 };
const RANDOM = { lz4: 1, zstd: 1 };

describe('the codec of a stream', () => {
  it('is zstd while it keeps up', () => {
    expect(shareOf(send(new CodecChooser(), 50, TEXT, CALM), FrameCodec.zstd)).toBe(1);
  });

  it('is none for incompressible data after one try of each, with ever rarer probes', () => {
    const chooser = new CodecChooser();
    const codecs = send(chooser, 2000, RANDOM, CALM);
    expect(codecs.slice(2, 9)).toEqual(Array(7).fill(FrameCodec.none));
    expect(shareOf(codecs, FrameCodec.none)).toBeGreaterThan(0.98);
    expect(shareOf(codecs.slice(1000), FrameCodec.none)).toBeLessThan(1);
  });

  it('comes back when the data shrinks again', () => {
    const chooser = new CodecChooser();
    send(chooser, 2000, RANDOM, CALM);
    expect(shareOf(send(chooser, 600, TEXT, CALM).slice(-50), FrameCodec.zstd)).toBe(1);
  });

  it('is zstd on a slow link and none on a fast one when the stream is behind', () => {
    const slow = send(new CodecChooser(), 60, TEXT, { isBacklogged: true, linkBytesPerSecond: 12.5e6, freeWorkers: 1 });
    expect(shareOf(slow.slice(-30), FrameCodec.zstd)).toBe(1);
    const fast = send(new CodecChooser(), 60, TEXT, { isBacklogged: true, linkBytesPerSecond: 2e9, freeWorkers: 1 });
    expect(shareOf(fast.slice(-30), FrameCodec.none)).toBe(1);
  });

  it('is lz4 when the link is slower than lz4 and zstd is slower than the link', () => {
    const codecs = send(new CodecChooser(), 60, TEXT, { isBacklogged: true, linkBytesPerSecond: 190e6, freeWorkers: 1 });
    expect(shareOf(codecs.slice(-30), FrameCodec.lz4)).toBe(1);
  });

  it('is none when no worker is free', () => {
    expect(send(new CodecChooser(), 5, TEXT, { isBacklogged: true, linkBytesPerSecond: 1e6, freeWorkers: 0 })).toEqual(Array(5).fill(FrameCodec.none));
  });
});
