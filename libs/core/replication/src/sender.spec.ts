import { describe, expect, it } from '@jest/globals';
import { MiB, ProtocolError } from '@tidemark/base';
import { decodeSyncStart } from '@tidemark/frame';
import { LINK_NEXT, MemoryBudget } from './index.js';

import { B, SIZE, MARKER, SEAL, OPENED, shortOf, CountedMemory, Bench, replicating } from './testing/sender-bench.js';

describe('Sender: memory that another protection is guaranteed', () => {
  it('gives way: all that is queued goes into the bitmap and is sent from there, and the other one streams on', () => {
    const budget = new MemoryBudget(40 * B);
    const greedy: { readonly bench: Bench } = { bench: replicating({ budget: budget.share({ giveWay: () => greedy.bench.sender.giveWay() }) }) };
    for (let block = 0; block < 30; block += 1) greedy.bench.write(block);
    const other = replicating({ budget: budget.share() });
    for (let block = 0; block < 9; block += 1) other.write(block);
    expect(other.sender.status()).toMatchObject({ state: 'replicating', queuedBytes: 9 * B, dirtyBytes: 0 });
    expect(greedy.bench.sender.status()).toMatchObject({ state: 'connecting', queuedBytes: 0, dirtyBytes: 30 * B });
    greedy.bench.open({ incarnation: 2, lastSessionId: 's', isBaseComplete: true, durableSeq: greedy.bench.sender.status().ackedSeq });
    expect(greedy.bench.sender.status().sync).toMatchObject({ kind: 'bitmapSync', reason: 'Protected VRA Congestion' });
    expect(greedy.bench.sender.status().lagBytes).toBeGreaterThanOrEqual(30 * B);
  });
});

describe('Sender: initial sync', () => {
  it('starts with everything dirty, says why, and ends once', () => {
    const bench = new Bench();
    expect(bench.sender.status()).toMatchObject({ state: 'connecting', lagBytes: SIZE });
    bench.open();
    const [start] = bench.frames();
    expect(start?.firstSeq).toBe(1);
    expect(decodeSyncStart(start?.records[0]?.payload ?? new Uint8Array())).toEqual({ kind: 'initialSync', reason: 'VPG Created' });
    const read = bench.sender.nextSyncRead();
    expect(read).toMatchObject({ volume: 0, offset: 0, length: SIZE });
    expect(bench.sender.nextSyncRead()).toBeUndefined();
    bench.sender.syncReadDone(read?.readId ?? 0, new Uint8Array(SIZE));
    expect(bench.sender.status()).toMatchObject({ state: 'initialSync', sync: { totalBytes: SIZE, remainingBytes: SIZE } });
    expect(bench.sent()).toEqual(['syncWrite 0+16', 'syncWrite 16+16', 'syncWrite 32+16', 'syncWrite 48+16', 'syncEnd']);
    expect(bench.sender.status().state).toBe('initialSync');
    bench.ack();
    expect(bench.sender.status()).toMatchObject({ state: 'replicating', sync: null, lagBytes: 0 });
    expect(bench.sent()).toEqual([]);
  });

  it('numbers on above what the other side has', () => {
    const bench = new Bench();
    bench.open({ durableSeq: 100, lastSessionId: 'old', isBaseComplete: true });
    expect(bench.frames()[0]?.firstSeq).toBe(101);
    expect(bench.sender.status().state).toBe('deltaSync');
  });

  it('streams writes to what was read, leaves the bit on what was not, and splits a write over both', () => {
    const bench = new Bench({ budgetBytes: 3 * B });
    bench.open();
    bench.sent();
    const read = bench.sender.nextSyncRead();
    expect(read?.length).toBe(2 * B);
    bench.sender.syncReadDone(read?.readId ?? 0, 'zeroes');
    bench.write(1, 2);
    expect(bench.sent()).toEqual(['syncZeroes 0+2', 'write 1+1']);
    bench.write(30);
    expect(bench.sent()).toEqual([]);
    expect(bench.sender.status().dirtyBytes).toBe(SIZE - 2 * B);
  });

  it('a write during a read goes first, and its bytes are cut out of the block', () => {
    const bench = new Bench();
    bench.open();
    bench.sent();
    const read = bench.sender.nextSyncRead();
    bench.write(3);
    bench.sender.syncReadDone(read?.readId ?? 0, new Uint8Array(SIZE));
    expect(bench.sent()).toEqual(['write 3+1', 'syncWrite 0+3', 'syncWrite 4+16', 'syncWrite 20+16', 'syncWrite 36+16', 'syncWrite 52+12', 'syncEnd']);
  });

  it('does not end before writes are captured that a block may already hold', () => {
    let isPast = false;
    const bench = new Bench({ fence: { fence: () => 9, isPast: (fence) => fence === 9 && isPast } });
    bench.open();
    const read = bench.sender.nextSyncRead();
    bench.sender.syncReadDone(read?.readId ?? 0, 'zeroes');
    expect(bench.sent()).toEqual(['syncStart', 'syncZeroes 0+64']);
    isPast = true;
    bench.write(0);
    expect(bench.sent()).toEqual(['write 0+1', 'syncEnd']);
  });

  it('shows what cannot be read, and ends when it can', () => {
    const bench = new Bench();
    bench.open();
    const read = bench.sender.nextSyncRead();
    bench.sender.syncReadFailed(read?.readId ?? 0);
    expect(bench.sent()).toEqual(['syncStart']);
    expect(bench.sender.status()).toMatchObject({ state: 'failed', detail: `${SIZE} bytes of the protected volumes cannot be read` });
    expect(bench.sender.nextSyncRead()).toBeUndefined();
    bench.sender.retrySyncReads();
    bench.sync();
    expect(bench.sender.status().state).toBe('replicating');
  });

  it('reads only as far ahead as it may, one piece at a time behind many guest writes', () => {
    const bench = new Bench({ volumeSizesBytes: [64 * MiB], budgetBytes: 64 * MiB });
    bench.open({ creditBytes: 0 });
    const count = (): number => {
      let reads = 0;
      while (bench.sender.nextSyncRead() !== undefined) reads += 1;
      return reads;
    };
    expect(count()).toBe(16);
    const busy = new Bench({ volumeSizesBytes: [64 * MiB], budgetBytes: 64 * MiB });
    busy.open({ creditBytes: 0 });
    const read = busy.sender.nextSyncRead();
    for (let round = 0; round < 5; round += 1) busy.write(0, 63);
    expect(busy.sender.nextSyncRead()).toBeUndefined();
    busy.sender.syncReadDone(read?.readId ?? 0, 'zeroes');
    expect(busy.sender.nextSyncRead()).toBeUndefined();
  });

  it('goes on after a reconnect from where it was', () => {
    const bench = new Bench({ budgetBytes: 3 * B });
    bench.open();
    const read = bench.sender.nextSyncRead();
    bench.sender.syncReadDone(read?.readId ?? 0, 'zeroes');
    bench.sent();
    bench.reopen({ durableSeq: 1, isBaseComplete: false });
    expect(bench.frames().map(({ firstSeq, incarnation }) => [firstSeq, incarnation])).toEqual([[2, 2]]);
    bench.sync();
    expect(bench.sender.status().dirtyBytes).toBeLessThan(SIZE - 2 * B);
  });
});

describe('Sender: replicating', () => {
  it('sends each write once, in order, and again from the durable position after a reconnect', () => {
    const bench = replicating();
    const { lastSeq } = bench.sender.status();
    [1, 2, 3].forEach((block) => bench.write(block));
    expect(bench.sent()).toEqual(['write 1+1', 'write 2+1', 'write 3+1']);
    bench.ack(lastSeq + 1);
    bench.reopen({ durableSeq: lastSeq + 2 });
    expect(bench.sent()).toEqual(['write 3+1']);
  });

  it('keeps frames within what is asked, and a longer record goes alone', () => {
    const bench = replicating();
    [1, 2].forEach((block) => bench.write(block));
    bench.write(3, 4);
    bench.write(8);
    expect(bench.frames(2 * (B + 24)).map(({ records }) => records.map(shortOf))).toEqual([['write 1+1', 'write 2+1'], ['write 3+4'], ['write 8+1']]);
  });

  it('sends within the credit, waits without, and lets one longer record through when nothing is under way', () => {
    const bench = replicating();
    bench.ack(undefined, 2 * (B + 24));
    [1, 2, 3].forEach((block) => bench.write(block));
    expect(bench.sent()).toEqual(['write 1+1', 'write 2+1']);
    bench.ack(bench.sender.status().sentSeq, 100);
    expect(bench.sent()).toEqual(['write 3+1']);
    bench.ack(undefined, 0);
    bench.write(4);
    expect(bench.sent()).toEqual([]);
    expect(bench.sender.status().state).toBe('paused');
  });

  it('refuses an ack of what was not sent, or one that goes back', () => {
    const bench = replicating();
    const { sentSeq } = bench.sender.status();
    bench.write(1);
    expect(() => bench.ack(sentSeq + 1)).toThrow(ProtocolError);
    bench.sent();
    bench.ack(sentSeq + 1);
    expect(() => bench.ack(sentSeq)).toThrow(ProtocolError);
  });

  it('refuses an opened that nobody asked for', () => {
    expect(() => replicating().sender.opened(OPENED)).toThrow(ProtocolError);
  });

  it('splits a write that is longer than the smallest credit takes', () => {
    const bench = replicating();
    const bytes = new Uint8Array(33 * B).map((_, index) => index % 251);
    bench.sender.capture({ volume: 0, offset: B, length: bytes.length, payload: bytes });
    const records = bench.frames(2 ** 20).flatMap((frame) => frame.records);
    expect(records.map(shortOf)).toEqual(['write 1+16', 'write 17+16', 'write 33+1']);
    expect(Buffer.concat(records.map(({ payload }) => payload ?? new Uint8Array())).equals(bytes)).toBe(true);
  });

  it('splits zeroes that are longer than a record may be', () => {
    const bench = replicating({ volumeSizesBytes: [2 ** 33] });
    bench.sender.capture({ volume: 0, offset: 0, length: 2 ** 32 - B, payload: undefined });
    expect(bench.sent()).toEqual([`zeroes 0+${2 ** 31 / B}`, `zeroes ${2 ** 31 / B}+${2 ** 31 / B - 1}`]);
  });

  it('a failed write makes its range dirty and sends it again in a sync of the same incarnation', () => {
    const bench = replicating();
    const { lastSeq } = bench.sender.status();
    bench.sender.captureFailed({ volume: 0, offset: 2 * B + 10, length: 20, payload: new Uint8Array(20) });
    expect(bench.sender.placeMarker(MARKER)).toBe(false);
    const read = bench.sender.nextSyncRead();
    expect(read).toMatchObject({ offset: 2 * B, length: B });
    bench.sender.syncReadDone(read?.readId ?? 0, new Uint8Array(B));
    const [frame] = bench.frames();
    expect([frame?.firstSeq, frame?.records.map(shortOf)]).toEqual([lastSeq + 1, ['syncStart', 'syncWrite 2+1', 'syncEnd']]);
  });

  it('forceSync compares everything, but not before what was queued is durable there', () => {
    const bench = replicating();
    bench.write(3);
    bench.sender.forceSync();
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', sync: { reason: 'Force Sync', totalBytes: SIZE, unverifiedBytes: SIZE } });
    expect(bench.sender.nextCompare()).toBeUndefined();
    const writeSeq = bench.frames()[0]?.firstSeq ?? 0;
    bench.ack(writeSeq);
    const compare = bench.sender.nextCompare();
    expect([compare, bench.sender.nextSyncRead()]).toMatchObject([{ offset: 0, length: SIZE, atSeq: writeSeq }, undefined]);
    bench.sender.compared(compare?.compareId ?? 0, new Uint8Array(64).fill(1).fill(0, 5, 6));
    const read = bench.sender.nextSyncRead();
    expect(read).toMatchObject({ offset: 5 * B, length: B });
    bench.sender.syncReadDone(read?.readId ?? 0, new Uint8Array(B));
    expect(bench.frames().flatMap(({ records }) => records.map(shortOf))).toEqual(['syncWrite 5+1', 'syncEnd']);
  });

  it('a verdict of an earlier stream says nothing, and its piece is compared again', () => {
    const bench = replicating();
    bench.sender.forceSync();
    bench.sent();
    bench.ack();
    const compare = bench.sender.nextCompare();
    bench.reopen({ durableSeq: bench.sender.status().ackedSeq });
    bench.sender.compared(compare?.compareId ?? 0, new Uint8Array(64).fill(1));
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: SIZE });
    expect(bench.sender.nextCompare()).toMatchObject({ offset: 0, length: SIZE });
  });

  it('an activity log narrows the delta sync to its extents, and to what was written since', () => {
    const bench = new Bench({ earlier: { sessionId: 'old', ackedSeq: 40, suspects: [{ volume: 0, start: 2 * B, end: 4 * B }] } });
    bench.write(9);
    bench.open({ lastSessionId: 'old', durableSeq: 40, isBaseComplete: true });
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: 3 * B, sync: { reason: 'Protected VRA Restarted', unverifiedBytes: 2 * B } });
    expect(bench.sender.nextSyncRead()).toMatchObject({ offset: 9 * B, length: B });
    expect(bench.sender.nextCompare()).toMatchObject({ offset: 2 * B, length: 2 * B });
  });

  it.each([['before the stream is open', true], ['before an answer of which nothing was left', false]])('a sync that is forced %s compares all, and loses nothing that was written since', (_when, isFirst) => {
    const bench = new Bench({ earlier: { sessionId: 'old', ackedSeq: 40, suspects: [{ volume: 0, start: 2 * B, end: 4 * B }] } });
    const open = (): void => bench.open({ lastSessionId: 'old', durableSeq: 40, isBaseComplete: true });
    if (!isFirst) {
      open();
      bench.sender.linkDown();
    }
    bench.write(9);
    bench.sender.forceSync();
    open();
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: SIZE, sync: { unverifiedBytes: SIZE } });
  });
});

describe('Sender: from a basis that both sides have', () => {
  const basis = { basisId: 'view', extents: [{ volume: 0, start: 2 * B, end: 4 * B }] };
  const FIRST = { lastSessionId: null, isPreseeded: true } as const;

  it('sends what has changed since, and what is written before the stream is open, without a comparison', () => {
    const bench = new Bench({ basis });
    bench.write(9);
    bench.open({ ...FIRST, basisId: 'view' });
    expect(bench.sender.status()).toMatchObject({ state: 'bitmapSync', dirtyBytes: 3 * B, sync: { reason: 'Reverse Protection', unverifiedBytes: 0 } });
    expect(bench.sender.nextCompare()).toBeUndefined();
    expect(bench.sender.isEverythingDirty).toBe(true);
  });

  it('compares everything when the other side is not sure', () => {
    const bench = new Bench({ basis });
    bench.open(FIRST);
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: SIZE, sync: { unverifiedBytes: SIZE } });
  });

  it('a sync that is forced before the stream is open compares all, what was written since with it', () => {
    const bench = new Bench({ basis });
    bench.write(9);
    bench.sender.forceSync();
    bench.open({ ...FIRST, basisId: 'view' });
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: SIZE, sync: { unverifiedBytes: SIZE } });
  });

  it('with an answer lost on the way it compares: nobody knows what came of the first one', () => {
    const bench = new Bench({ basis });
    bench.open({ ...FIRST, lastSessionId: 's', basisId: 'view', incarnation: 2 });
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes: SIZE });
  });
});

describe('Sender: falling back to the bitmap', () => {
  it('marks all that is not acknowledged when memory ends, gives the memory back, and asks for a new stream', () => {
    const bench = replicating({ budgetBytes: 10 * B });
    [1, 2, 3].forEach((block) => bench.write(block));
    bench.sent();
    for (let block = 10; block < 20; block += 1) bench.write(block);
    expect(bench.sender.status()).toMatchObject({ state: 'connecting', dirtyBytes: 13 * B, queuedBytes: 0 });
    expect([bench.budget.usedBytes, bench.sender.wantsOpen, bench.sent()]).toEqual([0, true, []]);
    const { lastSeq, ackedSeq } = bench.sender.status();
    bench.open({ incarnation: 2, lastSessionId: 's', isBaseComplete: true, durableSeq: ackedSeq + 1 });
    expect(bench.frames()[0]?.firstSeq).toBe(lastSeq + 1);
    expect(bench.sender.status()).toMatchObject({ state: 'bitmapSync', sync: { totalBytes: 13 * B }, allSyncsBytes: SIZE + 13 * B });
  });

  it('queues while disconnected, then tracks', () => {
    const bench = replicating({ budgetBytes: 10 * B });
    bench.sender.linkDown();
    bench.write(1);
    expect(bench.sender.status()).toMatchObject({ state: 'connecting', detail: 'writes are queued', queuedBytes: B, dirtyBytes: 0 });
    bench.write(2, 20);
    expect(bench.sender.status()).toMatchObject({ detail: 'writes are tracked in a bitmap', queuedBytes: 0, dirtyBytes: 21 * B });
  });

  it('marks blocks of a sync that were sent and not acknowledged, or were being read', () => {
    const bench = new Bench({ budgetBytes: 3 * B });
    bench.open();
    const read = bench.sender.nextSyncRead();
    bench.sender.syncReadDone(read?.readId ?? 0, new Uint8Array(2 * B));
    bench.sent();
    bench.sender.linkDown();
    bench.write(0);
    expect(bench.sender.status()).toMatchObject({ dirtyBytes: SIZE, queuedBytes: 0 });
  });

  it('is loud when acknowledged writes are lost, and copies everything', () => {
    const bench = replicating();
    const { ackedSeq } = bench.sender.status();
    bench.reopen({ durableSeq: ackedSeq - 1 });
    expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', lostAcknowledgedCount: 1, dirtyBytes: SIZE });
    expect(bench.sender.status().detail).toMatch(/acknowledged writes are lost/);
    bench.sync();
    expect(bench.sender.status()).toMatchObject({ state: 'replicating', detail: '', lostAcknowledgedCount: 1 });
  });

  it('asks again after notReady, never after fenced', () => {
    const bench = replicating();
    bench.sender.refused({ code: 'notReady', message: 'later' });
    expect([bench.sender.status().state, bench.sender.wantsOpen]).toEqual(['refused', true]);
    bench.sender.openRequest();
    bench.write(1);
    bench.sender.refused({ code: 'fenced', message: 'epoch 2 is in force' });
    expect([bench.sender.wantsOpen, bench.budget.usedBytes]).toEqual([false, 0]);
    expect(bench.sender.status()).toMatchObject({ state: 'refused', detail: 'epoch 2 is in force' });
  });

  it('gives all memory back when closed, and bears reads that end late', () => {
    const bench = new Bench();
    bench.open();
    const read = bench.sender.nextSyncRead();
    bench.sender.close();
    bench.sender.syncReadDone(read?.readId ?? 0, 'zeroes');
    expect(bench.budget.usedBytes).toBe(0);
  });
});

describe('Sender: markers and seals', () => {
  it('places both behind what was captured before', () => {
    const bench = replicating();
    bench.write(1);
    expect([bench.sender.placeMarker(MARKER), bench.sender.placeSeal(SEAL)]).toEqual([true, true]);
    bench.write(2);
    expect(bench.sent()).toEqual(['write 1+1', 'marker', 'seal', 'write 2+1']);
    expect(bench.sender.placeSeal(SEAL)).toBe(false);
  });

  it('no marker while a sync is under way, is needed, or the stream is refused', () => {
    const bench = new Bench();
    expect(bench.sender.placeMarker(MARKER)).toBe(false);
    bench.open();
    expect(bench.sender.placeMarker(MARKER)).toBe(false);
    bench.sync();
    bench.sender.refused({ code: 'notReady', message: '' });
    expect(bench.sender.placeMarker(MARKER)).toBe(false);
  });

  it('no seal for another checkpoint or term', () => {
    const bench = replicating();
    bench.sender.placeMarker(MARKER);
    expect([bench.sender.placeSeal({ ...SEAL, checkpointId: 6 }), bench.sender.placeSeal({ ...SEAL, term: 4 })]).toEqual([false, false]);
  });

  it('no seal when the marker went out in an incarnation that is gone, but one that still waits goes with its seal', () => {
    const bench = replicating();
    bench.sender.placeMarker(MARKER);
    bench.sent();
    const { ackedSeq } = bench.sender.status();
    bench.reopen({ durableSeq: ackedSeq });
    expect(bench.sender.placeSeal(SEAL)).toBe(false);
    bench.sent();
    bench.sender.linkDown();
    expect(bench.sender.placeMarker({ ...MARKER, checkpointId: 6 })).toBe(true);
    expect(bench.sender.placeSeal({ ...SEAL, checkpointId: 6 })).toBe(true);
  });

  it('no seal after the queue with its marker was dropped', () => {
    const bench = replicating({ budgetBytes: 10 * B });
    bench.sender.placeMarker(MARKER);
    bench.write(0, 20);
    expect(bench.sender.placeSeal(SEAL)).toBe(false);
  });
});

describe('the table of link states', () => {
  it('leads from every cell to a state of the table', () => {
    for (const row of Object.values(LINK_NEXT)) for (const next of Object.values(row)) expect(Object.keys(LINK_NEXT)).toContain(next);
  });
});

describe('the memory of payloads', () => {
  const streaming = (memory: CountedMemory): { bench: Bench; lastSeq: number } => {
    const bench = new Bench({ memory });
    bench.open();
    for (let read = bench.sender.nextSyncRead(); read !== undefined; read = bench.sender.nextSyncRead()) bench.sender.syncReadDone(read.readId, 'zeroes');
    while (bench.sender.nextFrame(MiB) !== undefined);
    const lastSeq = bench.sender.status().sentSeq;
    bench.sender.acked({ durableSeq: lastSeq, creditBytes: 16 * MiB });
    memory.holders.clear();
    return { bench, lastSeq };
  };

  it('is held from the capture to the acknowledgement', () => {
    const memory = new CountedMemory();
    const { bench, lastSeq } = streaming(memory);
    bench.write(1);
    bench.write(2);
    bench.sender.nextFrame(MiB);
    expect(memory.counts).toEqual([1, 1]);
    bench.sender.acked({ durableSeq: lastSeq + 1, creditBytes: 16 * MiB });
    expect(memory.counts).toEqual([0, 1]);
  });

  it('of what was sent and then dropped is never used again: a socket may still hold it', () => {
    const memory = new CountedMemory();
    const { bench, lastSeq } = streaming(memory);
    bench.write(1);
    bench.sender.nextFrame(MiB);
    bench.sender.linkDown();
    bench.sender.openRequest();
    bench.sender.opened({ ...OPENED, incarnation: 2, lastSessionId: 'another', isBaseComplete: true, durableSeq: lastSeq });
    expect(memory.counts).toEqual([1]);
  });
});

describe('Sender: temp data', () => {
  const SIZES = { volumeSizesBytes: [SIZE, SIZE], tempVolumes: [1] };
  const writeTo = (bench: Bench, volume: number, block: number): void => bench.sender.capture({ volume, offset: block * B, length: B, payload: new Uint8Array(B).fill(7) });

  it('is copied with the base, streamed until the copy is complete there, and then neither sent nor kept dirty', () => {
    const bench = new Bench(SIZES);
    bench.open();
    for (let read = bench.sender.nextSyncRead(); read !== undefined; read = bench.sender.nextSyncRead()) bench.sender.syncReadDone(read.readId, 'zeroes');
    expect(bench.sent()).toEqual(['syncStart', 'syncZeroes 0+64', 'syncZeroes 0+64', 'syncEnd']);
    writeTo(bench, 1, 3);
    expect(bench.sent()).toEqual(['write 3+1']);
    bench.ack();
    writeTo(bench, 1, 4);
    writeTo(bench, 0, 5);
    expect(bench.sent()).toEqual(['write 5+1']);
    bench.sender.linkDown();
    for (let block = 0; block < 64; block += 1) writeTo(bench, 1, block);
    expect(bench.sender.status()).toMatchObject({ dirtyBytes: 0, queuedBytes: B });
  });

  it('what was queued of it and is dropped is not sent again', () => {
    const bench = replicating({ ...SIZES, budgetBytes: 40 * B });
    bench.sender.linkDown();
    for (let round = 0; round < 64; round += 1) writeTo(bench, 0, round);
    expect(bench.sender.status().dirtyBytes).toBe(SIZE);
    bench.sender.suspect([{ volume: 1, start: 0, end: SIZE }], 'away');
    bench.sender.captureFailed({ volume: 1, offset: 0, length: B, payload: undefined });
    bench.sender.forceSync();
    expect(bench.sender.status().dirtyBytes).toBe(SIZE);
  });

  it('a new session leaves it out, unless its first copy is not complete there', () => {
    for (const [copyingVolumes, dirtyBytes] of [[[], SIZE], [[1], 2 * SIZE]] as const) {
      const bench = new Bench(SIZES);
      bench.open({ durableSeq: 9, lastSessionId: 'old', isBaseComplete: true, copyingVolumes });
      expect(bench.sender.status()).toMatchObject({ state: 'deltaSync', dirtyBytes });
    }
  });

  it('a new base takes it again', () => {
    const bench = replicating(SIZES);
    bench.reopen({ durableSeq: 0, lastSessionId: null, isBaseComplete: false });
    expect(bench.sender.status()).toMatchObject({ state: 'initialSync', dirtyBytes: 2 * SIZE });
    writeTo(bench, 1, 3);
    for (let round = 0; round < 3; round += 1) bench.sync();
    expect(bench.sender.isLeftOut(1)).toBe(true);
  });

  it('keeps what is left out when volumes change', () => {
    const bench = replicating(SIZES);
    bench.sender.changeVolumes([SIZE, 2 * SIZE, SIZE]);
    expect(bench.sender.status().dirtyBytes).toBe(SIZE);
  });
});
