import { describe, expect, it } from '@jest/globals';
import { Splitter, type GuestWrite, type SplitterEffect } from './index.js';

const write = (offset: number, length = 4, volume = 0): GuestWrite => ({ volume, offset, length, payload: new Uint8Array(length) });

/** A splitter with its effects as text, and a sink that notes what it captures. */
class Bench {
  readonly splitter = new Splitter();
  readonly effects: SplitterEffect[] = [];
  readonly captured: string[] = [];

  constructor(keys: readonly string[] = ['a']) {
    for (const key of keys) this.addSink(key);
  }

  addSink(key: string): void {
    this.splitter.addSink(key, {
      capture: ({ offset }) => void this.captured.push(`${key}:${offset}`),
      captureFailed: ({ offset }) => void this.captured.push(`${key}:failed ${offset}`),
    });
  }

  /** The effects since the last call, e.g. `writeLocal 1`. */
  get news(): string[] {
    return this.effects.splice(0).map((effect) => {
      switch (effect.kind) {
        case 'startRead':
          return `startRead ${effect.readId}`;
        case 'writeLocal':
          return `writeLocal ${effect.writeId}`;
        case 'complete':
          return `complete ${effect.writeId} ${effect.isOk ? 'ok' : 'failed'}`;
      }
    });
  }

  write(offset: number, length?: number, volume?: number): number {
    return this.splitter.submitWrite(write(offset, length, volume), this.effects);
  }

  read(offset: number, length = 4): number {
    return this.splitter.submitRead({ volume: 0, offset, length }, this.effects);
  }

  done(writeId: number, isOk = true): void {
    this.splitter.localWriteDone(writeId, isOk, this.effects);
  }
}

describe('Splitter', () => {
  it('captures after the local write and before the guest is told', () => {
    const bench = new Bench(['a', 'b']);
    const id = bench.write(0);
    expect(bench.captured).toEqual([]);
    expect(bench.news).toEqual([`writeLocal ${id}`]);
    bench.done(id);
    expect(bench.captured).toEqual(['a:0', 'b:0']);
    expect(bench.news).toEqual([`complete ${id} ok`]);
    expect(bench.splitter.inFlightCount).toBe(0);
  });

  it('reports a failed local write as failed to guest and sinks, and does not capture it', () => {
    const bench = new Bench();
    bench.done(bench.write(8), false);
    expect(bench.captured).toEqual(['a:failed 8']);
    expect(bench.news[1]).toMatch(/^complete \d+ failed$/);
  });

  it('keeps overlapping writes in order and lets others pass', () => {
    const bench = new Bench();
    const [first, second, third, other] = [bench.write(0, 8), bench.write(4, 8), bench.write(8, 8), bench.write(100)];
    expect(bench.news).toEqual([`writeLocal ${first}`, `writeLocal ${other}`]);
    bench.done(first);
    expect(bench.news).toEqual([`writeLocal ${second}`, `complete ${first} ok`]);
    bench.done(second);
    expect(bench.news).toEqual([`writeLocal ${third}`, `complete ${second} ok`]);
    bench.done(third);
    expect(bench.captured).toEqual(['a:0', 'a:4', 'a:8']);
  });

  it('lets writes that only touch, or lie on other volumes, go together', () => {
    const bench = new Bench();
    bench.write(0, 4);
    bench.write(4, 4);
    bench.write(0, 4, 1);
    expect(bench.news.length).toBe(3);
  });

  it('holds completions, not writes, and releases them in order of completion', () => {
    const bench = new Bench();
    const before = bench.write(0);
    bench.splitter.hold('a', bench.effects);
    const [x, y, again] = [bench.write(10), bench.write(20), bench.write(10)];
    expect(bench.news).toEqual([`writeLocal ${before}`, `writeLocal ${x}`, `writeLocal ${y}`]);
    bench.done(y);
    bench.done(before);
    bench.done(x);
    // The write behind a held one goes to the volume all the same.
    expect(bench.news).toEqual([`writeLocal ${again}`]);
    expect(bench.captured).toEqual(['a:20', 'a:0', 'a:10']);
    expect(bench.splitter.heldCount).toBe(3);
    bench.splitter.release('a', bench.effects);
    expect(bench.news).toEqual([`complete ${y} ok`, `complete ${before} ok`, `complete ${x} ok`]);
  });

  it('tells the guest of a failed write even during a hold', () => {
    const bench = new Bench();
    bench.splitter.hold('a', bench.effects);
    const id = bench.write(0);
    bench.done(id, false);
    expect(bench.news).toEqual([`writeLocal ${id}`, `complete ${id} failed`]);
  });

  it('a hold keeps only what was captured during it: chained holds do not add up', () => {
    const bench = new Bench(['a', 'b']);
    bench.splitter.hold('a', bench.effects);
    const first = bench.write(0);
    bench.done(first);
    bench.splitter.hold('b', bench.effects);
    const second = bench.write(10);
    bench.done(second);
    bench.effects.length = 0;
    bench.splitter.release('a', bench.effects);
    expect(bench.news).toEqual([`complete ${first} ok`]);
    bench.splitter.hold('a', bench.effects);
    bench.splitter.release('b', bench.effects);
    expect(bench.news).toEqual([`complete ${second} ok`]);
  });

  it('a hold of one key is not ended by another, and taking the sink out ends its own', () => {
    const bench = new Bench(['a', 'b']);
    bench.splitter.hold('a', bench.effects);
    const id = bench.write(0);
    bench.done(id);
    bench.splitter.release('b', bench.effects);
    expect(bench.news).toEqual([`writeLocal ${id}`]);
    bench.splitter.removeSink('a', bench.effects);
    expect(bench.news).toEqual([`complete ${id} ok`]);
    bench.done(bench.write(0));
    expect(bench.captured).toEqual(['a:0', 'b:0', 'b:0']);
  });

  it('a read waits for an overlapping write until the guest knows of it', () => {
    const bench = new Bench();
    bench.splitter.hold('a', bench.effects);
    const id = bench.write(0, 8);
    const [during, beside] = [bench.read(4), bench.read(8)];
    expect(bench.news).toEqual([`writeLocal ${id}`, `startRead ${beside}`]);
    bench.done(id);
    const after = bench.read(0);
    expect(bench.news).toEqual([]);
    bench.splitter.release('a', bench.effects);
    expect(bench.news).toEqual([`complete ${id} ok`, `startRead ${during}`, `startRead ${after}`]);
  });

  it('a write waits for an overlapping read under way: the read cannot return what is held', () => {
    const bench = new Bench();
    const [read, second] = [bench.read(0), bench.read(2)];
    const id = bench.write(0);
    expect(bench.news).toEqual([`startRead ${read}`, `startRead ${second}`]);
    bench.splitter.readDone(read, bench.effects);
    expect(bench.news).toEqual([]);
    bench.splitter.readDone(second, bench.effects);
    expect(bench.news).toEqual([`writeLocal ${id}`]);
  });

  it('a sink that comes later captures writes that are under way', () => {
    const bench = new Bench([]);
    const id = bench.write(0);
    bench.addSink('late');
    bench.done(id);
    expect(bench.captured).toEqual(['late:0']);
  });

  it('a fence is past when every write before it is captured or has failed', () => {
    const bench = new Bench();
    const [x, y] = [bench.write(0), bench.write(10)];
    const fence = bench.splitter.fence();
    const later = bench.write(20);
    bench.splitter.hold('a', bench.effects);
    bench.done(x);
    expect(bench.splitter.isPast(fence)).toBe(false);
    bench.done(y, false);
    expect(bench.splitter.isPast(fence)).toBe(true);
    expect(bench.splitter.isPast(bench.splitter.fence())).toBe(false);
    bench.done(later);
    expect(bench.splitter.isPast(bench.splitter.fence())).toBe(true);
  });

  it('keeps a deep queue apart: 200 writes, ended in another order, each with one that waits for it alone', () => {
    const bench = new Bench();
    const ids = Array.from({ length: 200 }, (_, index) => bench.write(index * 4));
    const waiting = Array.from({ length: 200 }, (_, index) => bench.write(index * 4));
    expect(bench.news.length).toBe(200);
    for (let step = 0; step < 200; step += 1) {
      const index = (step * 77) % 200;
      bench.done(ids[index] ?? 0);
      expect(bench.news).toEqual([`writeLocal ${waiting[index]}`, `complete ${ids[index]} ok`]);
    }
    expect(bench.splitter.inFlightCount).toBe(200);
  });
});
