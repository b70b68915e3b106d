import { describe, expect, it } from '@jest/globals';
import type { CompactionOptions, CompactionResult, JournalFile } from '@tidemark/journal-file';
import { type CompactedRecovery, CompactionSchedule } from './compaction-schedule.js';

const MINUTE = 60_000;
const DONE: CompactionResult = { freedBytes: 0, readBytes: 0, rewrittenSegments: 0 };

class Bench {
  readonly calls: { readonly key: string; readonly options: CompactionOptions; readonly end: (result: CompactionResult | Error) => void }[] = [];
  readonly lines: string[] = [];
  readonly schedule = new CompactionSchedule({
    info: (_, message) => void this.lines.push(message), warn: (_, message) => void this.lines.push(message), error: (_, message) => void this.lines.push(message),
  });

  recovery(key: string, more: { readonly thinnedSeq?: number; readonly keepAllMs?: number; readonly needsReopening?: boolean } = {}): CompactedRecovery {
    const compact = async (options: CompactionOptions): Promise<CompactionResult> => await new Promise((resolve, reject) => {
      this.calls.push({ key, options, end: (result) => (result instanceof Error ? reject(result) : resolve(result)) });
    });
    const { thinnedSeq = 500, keepAllMs = MINUTE, needsReopening = false } = more;
    const spec = keepAllMs === 0 ? {} : { thinning: { keepAllMs, hourlyAfterMs: 2 * keepAllMs } };
    return { key, thinnedSeq, needsReopening, spec: spec as CompactedRecovery['spec'], journal: { compact } as unknown as JournalFile };
  }

  async ended(result: CompactionResult | Error = DONE): Promise<void> {
    this.calls.at(-1)?.end(result);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('space of thinned checkpoints', () => {
  it('is given back of one journal at a time, in turn, below the ones that all stay', async () => {
    const bench = new Bench();
    const recoveries = [bench.recovery('a', { thinnedSeq: 500 }), bench.recovery('b', { thinnedSeq: 700 })];
    bench.schedule.tick(0, recoveries);
    bench.schedule.tick(1000, recoveries);
    expect(bench.calls.map(({ key, options }) => [key, options.beforeSeq])).toEqual([['a', 500]]);
    await bench.ended({ freedBytes: 5, readBytes: 9, rewrittenSegments: 1 });
    expect(bench.lines).toEqual(['space of thinned checkpoints was given back']);
    bench.schedule.tick(2000, recoveries);
    await bench.ended();
    bench.schedule.tick(3000, recoveries);
    expect(bench.calls.map(({ key }) => key)).toEqual(['a', 'b']);
    bench.schedule.tick(MINUTE, recoveries);
    expect(bench.calls.map(({ key }) => key)).toEqual(['a', 'b', 'a']);
  });

  it('is left alone without a policy, before anything is old enough, and while the journal is to be opened anew', () => {
    const bench = new Bench();
    bench.schedule.tick(0, [bench.recovery('a', { keepAllMs: 0 }), bench.recovery('c', { needsReopening: true }), bench.recovery('b', { thinnedSeq: 0 })]);
    expect(bench.calls).toEqual([]);
  });

  it('is tried again after a failure, and stops soon when the VRA does', async () => {
    const bench = new Bench();
    const recovery = bench.recovery('a');
    bench.schedule.tick(0, [recovery]);
    await bench.ended(new Error('no space'));
    expect(bench.lines[0]).toContain('tried again');
    bench.schedule.tick(MINUTE, [recovery]);
    const { options } = bench.calls.at(-1) ?? { options: undefined };
    const closing = bench.schedule.close();
    expect(options?.shouldStop()).toBe(true);
    await options?.allow(2 ** 40, options.shouldStop); // not hours
    bench.calls.at(-1)?.end(DONE);
    await closing;
    bench.schedule.tick(MINUTE * 9, [recovery]);
    expect(bench.calls.length).toBe(2);
  });
});
