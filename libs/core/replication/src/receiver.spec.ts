import { describe, expect, it } from '@jest/globals';
import { KiB, MiB, ProtocolError } from '@tidemark/base';
import { encodeMarker, encodeSyncStart, FrameCodec, FrameKind, RecordType, recordRawBytes, type FrameHeader, type OpenRequest, type StreamRecord } from '@tidemark/frame';
import { CREDIT_BYTES_FIRST, MemoryBudget, Receiver, RECEIVER_NEXT, type ReceiverEffect, type ReceiverOptions } from './index.js';

const SIZE = 8 << 20;
const OPEN: OpenRequest = { vpgId: 'g', vmId: 'm', epoch: 2, sessionId: 's1', volumes: [SIZE], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
const write = (length = 100): StreamRecord => ({ type: RecordType.write, volume: 0, offset: 0, length, payload: new Uint8Array(length) });
const SYNC_START: StreamRecord = { type: RecordType.syncStart, volume: 0, offset: 0, length: 0, payload: encodeSyncStart({ kind: 'initialSync', reason: '' }) };

function header(firstSeq: number, records: readonly StreamRecord[], more: Partial<FrameHeader> = {}): FrameHeader {
  const rawBytes = records.reduce((sum, { payload }) => sum + recordRawBytes(payload?.byteLength ?? 0), 0);
  const lastSeq = firstSeq + records.length - 1;
  return { kind: FrameKind.records, stream: 1, incarnation: 1, epoch: 2, count: records.length, firstSeq, lastSeq, bodyBytes: rawBytes, rawBytes, bodyCrc: 0, codec: FrameCodec.none, ...more };
}

class Bench {
  readonly receiver: Receiver;
  readonly effects: ReceiverEffect[] = [];

  constructor(options: Partial<ReceiverOptions> = {}) {
    this.receiver = new Receiver({ vpgId: 'g', vmId: 'm', epoch: 2, volumeSizesBytes: [SIZE], ...options });
    this.receiver.journalState('ready', this.effects);
  }

  get news(): ReceiverEffect[] {
    return this.effects.splice(0);
  }

  get kinds(): string[] {
    return this.news.map(({ kind }) => kind);
  }

  open(connection: number, request: Partial<OpenRequest> = {}): ReceiverEffect[] {
    this.receiver.open(connection, { ...OPEN, ...request }, this.effects);
    return this.news;
  }

  began(openId: number, incarnation: number, durableSeq = 0): void {
    this.receiver.incarnationBegan({ openId, isBegun: true, incarnation, durableSeq, lastSessionId: null, isBaseComplete: false }, this.effects);
  }

  frame(connection: number, firstSeq: number, records: readonly StreamRecord[], more: Partial<FrameHeader> = {}): void {
    this.receiver.frame(connection, header(firstSeq, records, more), records, this.effects);
  }

  frameError(connection: number, firstSeq: number, records: readonly StreamRecord[], more: Partial<FrameHeader> = {}): string {
    try {
      this.frame(connection, firstSeq, records, more);
    } catch (error) {
      if (error instanceof ProtocolError) return error.code;
      throw error;
    }
    return 'taken';
  }
}

function opened(options: Partial<ReceiverOptions> = {}): Bench {
  const bench = new Bench(options);
  bench.open(1);
  bench.began(1, 1);
  bench.effects.length = 0;
  return bench;
}

const refusalOf = (effects: readonly ReceiverEffect[]): string =>
  effects.map((effect) => (effect.kind === 'sendRefused' ? effect.reply.code : effect.kind)).join();

describe('Receiver: opening', () => {
  it('begins an incarnation, durable, before it answers', () => {
    const bench = new Bench();
    expect(bench.open(1)).toEqual([{ kind: 'beginIncarnation', openId: 1, epoch: 2, sessionId: 's1', ackedSeq: 0, volumeSizesBytes: [SIZE] }]);
    bench.began(1, 7, 40);
    expect(bench.news).toEqual([
      { kind: 'sendOpened', connection: 1, reply: { incarnation: 7, durableSeq: 40, lastSessionId: null, isBaseComplete: false, isPreseeded: false, copyingVolumes: [], creditBytes: 16 << 20, newestCheckpointId: 0 } },
    ]);
  });

  it.each([
    ['another VM', { vmId: 'x' }, 'unknown'],
    ['another VPG', { vpgId: 'x' }, 'unknown'],
    ['an older epoch', { epoch: 1 }, 'fenced'],
    ['an epoch that is not known yet', { epoch: 3 }, 'notReady'],
    ['volumes of other sizes', { volumes: [SIZE + 512] }, 'notReady'],
    ['more volumes', { volumes: [SIZE, SIZE] }, 'notReady'],
  ])('refuses %s, and leaves the open stream alone', (_, request, code) => {
    const bench = opened();
    expect(refusalOf(bench.open(2, request))).toBe(code);
    bench.frame(1, 1, [write()]);
    expect(bench.kinds).toEqual(['append']);
  });

  it('refuses while the journal is being opened or is broken', () => {
    const bench = opened();
    bench.receiver.journalState('broken', bench.effects);
    expect(refusalOf(bench.news)).toBe('notReady');
    expect(refusalOf(bench.open(2))).toBe('notReady');
    expect(refusalOf(new Bench().open(1))).toBe('beginIncarnation');
    const closed = new Receiver({ vpgId: 'g', vmId: 'm', epoch: 2, volumeSizesBytes: [SIZE] });
    const effects: ReceiverEffect[] = [];
    closed.open(1, OPEN, effects);
    expect(refusalOf(effects)).toBe('notReady');
  });

  it('closes the older connection first, then refuses its frames', () => {
    const bench = opened();
    expect(bench.open(2).map(({ kind }) => kind)).toEqual(['closeStream', 'beginIncarnation']);
    bench.frame(1, 1, [write()]);
    expect(bench.news).toEqual([{ kind: 'closeStream', connection: 1 }]);
    bench.began(2, 2);
    bench.frame(1, 1, [write()]);
    expect(bench.kinds).toEqual(['sendOpened', 'closeStream']);
  });

  it('passes over the answer that belongs to an older open, or to one that is gone', () => {
    const bench = new Bench();
    bench.open(1);
    bench.open(2);
    bench.began(1, 1);
    expect(bench.news).toEqual([]);
    bench.receiver.connectionLost(2);
    bench.began(2, 2);
    expect(bench.news).toEqual([]);
    expect(bench.receiver.status().state).toBe('closed');
  });

  it('refuses when no incarnation can be begun', () => {
    const bench = new Bench();
    bench.open(1);
    bench.receiver.incarnationBegan({ openId: 1, isBegun: false, message: 'disk' }, bench.effects);
    expect(refusalOf(bench.news)).toBe('notReady');
  });
});

describe('Receiver: frames', () => {
  it('takes records without a gap only', () => {
    const bench = opened();
    bench.frame(1, 1, [write(), write()]);
    expect(bench.frameError(1, 4, [write()])).toBe('PROTOCOL_ORDER');
    expect(bench.frameError(1, 2, [write()])).toBe('PROTOCOL_ORDER');
    expect(bench.frameError(1, 3, [write()])).toBe('taken');
  });

  it('takes a jump only in the first frame of an incarnation, upwards, to a syncStart', () => {
    expect(opened().frameError(1, 9, [SYNC_START])).toBe('taken');
    expect(opened().frameError(1, 9, [write(), SYNC_START])).toBe('PROTOCOL_ORDER');
    const later = opened();
    later.frame(1, 1, [write()]);
    expect(later.frameError(1, 9, [SYNC_START])).toBe('PROTOCOL_ORDER');
    const back = new Bench();
    back.open(1);
    back.began(1, 1, 20);
    expect(back.frameError(1, 20, [SYNC_START])).toBe('PROTOCOL_ORDER');
  });

  it('refuses another incarnation, another epoch, a place outside the volume, a marker of another VPG', () => {
    expect(opened().frameError(1, 1, [write()], { incarnation: 2 })).toBe('PROTOCOL_ORDER');
    expect(opened().frameError(1, 1, [write()], { epoch: 1 })).toBe('PROTOCOL_ORDER');
    expect(opened().frameError(1, 1, [{ ...write(), offset: SIZE }])).toBe('PROTOCOL_LIMIT');
    const marker = { vpgId: 'other', checkpointId: 1, epoch: 2, term: 0, vmIds: ['m'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' } as const;
    expect(opened().frameError(1, 1, [{ ...SYNC_START, type: RecordType.marker, payload: encodeMarker(marker) }])).toBe('PROTOCOL_LAYOUT');
  });

  it('refuses records before the stream is open', () => {
    const bench = new Bench();
    bench.open(1);
    expect(bench.frameError(1, 1, [write()])).toBe('PROTOCOL_ORDER');
  });
});

function openCredit(bench: Bench): number {
  bench.open(1);
  bench.began(1, 1);
  const [effect] = bench.news;
  return effect?.kind === 'sendOpened' ? effect.reply.creditBytes : -1;
}

const creditsOf = (effects: readonly ReceiverEffect[]): number[] => effects.flatMap((effect) => (effect.kind === 'sendAck' ? [effect.creditBytes] : []));

describe('Receiver: acks and credit', () => {
  it('acknowledges when durable, never before, and between frames', () => {
    const bench = opened();
    bench.frame(1, 1, [write(), write()]);
    bench.frame(1, 3, [write()]);
    expect(bench.kinds).toEqual(['append', 'append']);
    bench.receiver.durable(1, bench.effects);
    expect(bench.news).toEqual([]);
    bench.receiver.durable(2, bench.effects);
    expect(bench.news).toEqual([{ kind: 'sendAck', connection: 1, durableSeq: 2, creditBytes: 16 << 20 }]);
    bench.receiver.durable(3, bench.effects);
    expect(bench.receiver.status()).toMatchObject({ durableSeq: 3, pendingBytes: 0 });
  });

  it('ends a stream that sends beyond its credit, but takes one long frame when nothing else is under way', () => {
    const bench = opened({ creditBytesMax: 1000 });
    expect(bench.frameError(1, 1, [write(5000)])).toBe('taken');
    expect(bench.frameError(1, 2, [write(1)])).toBe('PROTOCOL_LIMIT');
    bench.receiver.durable(1, bench.effects);
    expect(bench.frameError(1, 2, [write(900)])).toBe('taken');
    expect(bench.frameError(1, 3, [write(100)])).toBe('PROTOCOL_LIMIT');
  });

  it('a full journal stops the credit at once, what is under way by the older credit is taken, space gives it back', () => {
    const bench = opened();
    bench.frame(1, 1, [write()]);
    bench.effects.length = 0;
    bench.receiver.journalState('full', bench.effects);
    expect(bench.news).toEqual([{ kind: 'sendAck', connection: 1, durableSeq: 0, creditBytes: 0 }]);
    expect(bench.frameError(1, 2, [write()])).toBe('taken');
    bench.effects.length = 0;
    bench.receiver.journalState('ready', bench.effects);
    expect(bench.news).toEqual([{ kind: 'sendAck', connection: 1, durableSeq: 0, creditBytes: 16 << 20 }]);
  });

  it('a quiet stream has a small credit, one whose journal keeps up the whole window, and loses it again when it is quiet', () => {
    const budget = new MemoryBudget(64 * MiB);
    const bench = new Bench({ budget: budget.share() });
    let credit = openCredit(bench);
    expect([credit, budget.usedBytes]).toEqual([CREDIT_BYTES_FIRST, CREDIT_BYTES_FIRST]);
    const credits: number[] = [];
    for (let seq = 0; credits.length < 6; credits.push(credit / MiB)) {
      for (const end = seq + credit / (256 * KiB); seq < end; ) bench.frame(1, (seq += 1), [write(256 * KiB - 24)]);
      bench.receiver.durable(seq, bench.effects);
      credit = creditsOf(bench.news).at(-1) ?? 0;
    }
    expect(credits).toEqual([1, 2, 4, 8, 16, 16]);
    for (let tick = 0; tick < 16; tick += 1) bench.receiver.tick(bench.effects);
    expect([creditsOf(bench.news), budget.usedBytes]).toEqual([[CREDIT_BYTES_FIRST], CREDIT_BYTES_FIRST]);
  });

  it('many streams together never have more credit than the budget, and each can go on', () => {
    const budget = new MemoryBudget(32 * MiB);
    const benches = Array.from({ length: 300 }, () => new Bench({ budget: budget.share() }));
    const credits = benches.map((bench) => openCredit(bench));
    expect(credits.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(32 * MiB);
    // What the early ones had beyond their guarantee, as long as there were few, is theirs for the first seconds only.
    for (let tick = 0; tick < 16; tick += 1) for (const bench of benches) bench.receiver.tick(bench.effects);
    const later = benches.map((bench, index) => creditsOf(bench.news).at(-1) ?? credits[index] ?? 0);
    expect([Math.min(...later) >= 16 * KiB, later.reduce((sum, each) => sum + each, 0) <= 32 * MiB, budget.usedBytes <= 32 * MiB]).toEqual([true, true, true]);
  });

  it('a journal that makes nothing durable gets no more credit, and gives memory back when its stream ends and the rest is durable', () => {
    const budget = new MemoryBudget(64 * MiB);
    const bench = new Bench({ budget: budget.share() });
    openCredit(bench);
    bench.frame(1, 1, [write(MiB / 2)]);
    for (let tick = 0; tick < 30; tick += 1) bench.receiver.tick(bench.effects);
    expect([creditsOf(bench.news), budget.usedBytes]).toEqual([[], CREDIT_BYTES_FIRST]);
    bench.receiver.connectionLost(1);
    expect(budget.usedBytes).toBe(recordRawBytes(MiB / 2));
    bench.receiver.durable(1, bench.effects);
    expect(budget.usedBytes).toBe(0);
  });

  it('what comes beyond a credit that was taken back long ago ends the stream, so that it is sent again; the link stays', () => {
    const bench = new Bench({ budget: new MemoryBudget(64 * MiB).share() });
    openCredit(bench);
    bench.frame(1, 1, [write(1000)]);
    expect(bench.frameError(1, 2, [write(CREDIT_BYTES_FIRST)])).toBe('taken');
    expect([bench.kinds, bench.receiver.status().state]).toEqual([['append', 'closeStream'], 'closed']);
  });

  it('counts one frame longer than its credit against the budget', () => {
    const budget = new MemoryBudget(64 * MiB);
    const bench = new Bench({ budget: budget.share() });
    openCredit(bench);
    bench.frame(1, 1, [write(4 * MiB)]);
    expect(budget.usedBytes).toBe(recordRawBytes(4 * MiB));
    bench.receiver.appendsLost(bench.effects);
    expect(budget.usedBytes).toBe(0);
  });

  it('passes over what older appends report while a new incarnation begins', () => {
    const bench = opened();
    bench.frame(1, 1, [write()]);
    bench.open(2);
    bench.effects.length = 0;
    bench.receiver.durable(1, bench.effects);
    expect(bench.news).toEqual([]);
  });

  it('closes the stream when appended frames are lost, so that they are sent again', () => {
    const bench = opened();
    bench.frame(1, 1, [write()]);
    bench.effects.length = 0;
    bench.receiver.appendsLost(bench.effects);
    expect(bench.news).toEqual([{ kind: 'closeStream', connection: 1 }]);
  });
});

describe('Receiver: fencing', () => {
  it('a newer epoch closes the stream and refuses its sender for good', () => {
    const bench = opened();
    bench.receiver.setEpoch(3, bench.effects);
    expect(refusalOf(bench.news)).toBe('fenced');
    expect(refusalOf(bench.open(2))).toBe('fenced');
    bench.frame(1, 1, [write()]);
    expect(bench.kinds).toEqual(['closeStream']);
    expect(refusalOf(bench.open(3, { epoch: 3 }))).toBe('beginIncarnation');
  });

  it('an ended protection takes nothing, of any epoch, and fences only who has an older one', () => {
    const bench = opened();
    bench.receiver.end(bench.effects);
    expect(refusalOf(bench.news)).toBe('unknown');
    expect(refusalOf(bench.open(2, { epoch: 9 }))).toBe('unknown');
    bench.receiver.setEpoch(10, bench.effects);
    expect(refusalOf(bench.open(3, { epoch: 9 }))).toBe('fenced');
  });

  it('every cell of the state table leads to a state of the table', () => {
    for (const row of Object.values(RECEIVER_NEXT)) for (const next of Object.values(row)) expect(Object.keys(RECEIVER_NEXT)).toContain(next);
  });
});
