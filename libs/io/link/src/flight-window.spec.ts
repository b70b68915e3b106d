import { describe, expect, it } from '@jest/globals';
import { KiB, MiB } from '@tidemark/base';
import { FlightWindow } from './flight-window.js';

interface Path {
  readonly bytesPerSecond: number;
  readonly oneWayMs: number;
}

const FRAME = 64 * KiB;

/** A sender that always has frames, over a path with one queue without end: bytes delivered after `forMs`, and how long frames queued at the end. */
function run(path: Path, forMs: number, offeredBytesPerSecond = Infinity): { readonly bytesPerSecond: number; readonly queueMs: number; readonly window: FlightWindow } {
  const window = new FlightWindow(0);
  const answers: { readonly id: number; readonly atMs: number }[] = [];
  let linkFreeAtMs = 0;
  let sentBytes = 0;
  let deliveredBytes = 0;
  let queueMs = 0;
  for (let nowMs = 0; nowMs < forMs; nowMs += 0.5) {
    while ((answers[0]?.atMs ?? Infinity) <= nowMs) {
      const answer = answers.shift();
      if (answer) window.answered(answer.id, answer.atMs);
    }
    while (!window.isFull && sentBytes < (offeredBytesPerSecond * nowMs) / 1000) {
      window.sent(FRAME);
      sentBytes += FRAME;
      const startsMs = Math.max(nowMs, linkFreeAtMs);
      queueMs = startsMs - nowMs;
      linkFreeAtMs = startsMs + (FRAME * 1000) / path.bytesPerSecond;
      if (linkFreeAtMs + path.oneWayMs <= forMs) deliveredBytes += FRAME;
      if (window.wantsProbe) answers.push({ id: window.probe(72, nowMs), atMs: linkFreeAtMs + 2 * path.oneWayMs });
    }
  }
  return { bytesPerSecond: (deliveredBytes * 1000) / forMs, queueMs, window };
}

describe('flight window', () => {
  const paths: Record<string, Path> = {
    'a WAN of 100 Mbit/s, 100 ms': { bytesPerSecond: 12.5e6, oneWayMs: 50 },
    'a WAN of 1 Gbit/s, 80 ms': { bytesPerSecond: 125e6, oneWayMs: 40 },
    'a metro link of 1 Gbit/s, 2 ms': { bytesPerSecond: 125e6, oneWayMs: 1 },
    'a slow line of 5 Mbit/s, 40 ms': { bytesPerSecond: 625e3, oneWayMs: 20 },
  };
  for (const [name, path] of Object.entries(paths)) {
    it(`fills ${name} and keeps the queue short`, () => {
      const { bytesPerSecond, queueMs, window } = run(path, 10_000);
      expect(bytesPerSecond).toBeGreaterThan(0.93 * path.bytesPerSecond);
      expect(queueMs).toBeLessThan(Math.max(60, (1000 * 192 * KiB) / path.bytesPerSecond));
      expect(window.bytesPerSecond).toBeGreaterThan(0.8 * path.bytesPerSecond);
      expect(window.bytesPerSecond).toBeLessThan(1.3 * path.bytesPerSecond);
    });
  }

  it('does not take its own queue for the path, however long it is full', () => {
    const { queueMs, bytesPerSecond, window } = run({ bytesPerSecond: 12.5e6, oneWayMs: 50 }, 180_000);
    expect(queueMs).toBeLessThan(60);
    expect(bytesPerSecond).toBeGreaterThan(0.95 * 12.5e6);
    expect(window.windowBytes).toBeLessThan(12.5e6 * 0.16);
  });

  it('does not take a fast path for a slow one', () => {
    const { window } = run({ bytesPerSecond: 5e9, oneWayMs: 0.05 }, 1000, 300e6);
    expect(window.bytesPerSecond).toBe(Infinity);
    expect(window.isFull).toBe(false);
  });

  it('takes no answer to what it did not ask', () => {
    const window = new FlightWindow(0);
    window.sent(10 * MiB);
    const id = window.probe(72, 0);
    expect(window.answered(id + 1, 5)).toBeUndefined();
    expect(window.isFull).toBe(true);
    expect(window.answered(id, 5)).toBe(5);
    expect(window.inFlightBytes).toBe(0);
    expect(window.answered(id, 6)).toBeUndefined();
  });

  it('asks again before it stands still', () => {
    const window = new FlightWindow(0);
    while (!window.isFull) {
      window.sent(1000);
      if (window.wantsProbe) window.probe(72, 0);
    }
    expect(window.wantsProbe).toBe(false);
  });
});
