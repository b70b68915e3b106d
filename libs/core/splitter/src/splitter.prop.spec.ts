import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Splitter, type GuestWrite, type SplitterEffect } from './index.js';

const BYTES = 24;

/** A guest that writes, reads, and a host that ends requests in any order, with holds. Values are unique, so that each byte tells its write. */
class GuestModel {
  readonly splitter = new Splitter();
  readonly disk = new Uint8Array(BYTES);
  readonly captured = new Uint8Array(BYTES);
  readonly writes = new Map<number, GuestWrite>();
  readonly reads = new Map<number, { offset: number; length: number; bytes?: Uint8Array }>();
  readonly running: { id: number; isWrite: boolean }[] = [];
  /** Writes whose completion the guest has not seen. */
  readonly uncompleted = new Set<number>();
  readonly problems: string[] = [];
  #effects: SplitterEffect[] = [];
  #value = 0;

  constructor() {
    this.splitter.addSink('a', {
      capture: ({ offset, payload }) => this.captured.set(payload ?? new Uint8Array(), offset),
      captureFailed: () => undefined,
    });
  }

  write(offset: number, length: number): void {
    this.#value += 1;
    const payload = new Uint8Array(length).fill(this.#value);
    const write = { volume: 0, offset, length, payload };
    const id = this.splitter.submitWrite(write, this.#effects);
    this.writes.set(id, write);
    this.uncompleted.add(id);
    this.#drain();
  }

  read(offset: number, length: number): void {
    this.reads.set(this.splitter.submitRead({ volume: 0, offset, length }, this.#effects), { offset, length });
    this.#drain();
  }

  /** A request under way touches the disk, and then ends. */
  end(pick: number): void {
    const [request] = this.running.splice(pick % Math.max(1, this.running.length), 1);
    if (request === undefined) return;
    if (request.isWrite) {
      const write = this.writes.get(request.id);
      this.disk.set(write?.payload ?? new Uint8Array(), write?.offset);
      this.splitter.localWriteDone(request.id, true, this.#effects);
    } else {
      this.#checkRead(request.id);
      this.splitter.readDone(request.id, this.#effects);
    }
    this.#drain();
  }

  /** What the guest learns from a read must not come from a write that it has not seen completed. */
  #checkRead(readId: number): void {
    const read = this.reads.get(readId);
    if (read === undefined) return;
    const values = new Set(this.disk.subarray(read.offset, read.offset + read.length));
    for (const id of this.uncompleted) {
      if (values.has(this.writes.get(id)?.payload?.[0] ?? 0)) this.problems.push(`read ${readId} shows write ${id}, which is not completed`);
    }
  }

  hold(): void {
    this.splitter.hold('a', this.#effects);
  }

  release(): void {
    this.splitter.release('a', this.#effects);
    this.#drain();
  }

  #drain(): void {
    for (const effect of this.#effects.splice(0)) {
      if (effect.kind === 'writeLocal') this.running.push({ id: effect.writeId, isWrite: true });
      else if (effect.kind === 'startRead') this.running.push({ id: effect.readId, isWrite: false });
      else if (!this.uncompleted.delete(effect.writeId)) this.problems.push(`write ${effect.writeId} completed twice`);
    }
  }
}

const range = fc.tuple(fc.nat(BYTES - 1), fc.integer({ min: 1, max: 6 })).map(([offset, length]) => [offset, Math.min(length, BYTES - offset)] as const);
const action = fc.tuple(fc.constantFrom('write', 'write', 'read', 'end', 'end', 'end', 'hold', 'release'), range, fc.nat(20));

describe('Splitter under any interleaving', () => {
  it('captures in the order of the disk, shows nothing uncompleted, completes each write once', () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const model = new GuestModel();
      for (const [kind, [offset, length], pick] of actions) {
        if (kind === 'write') model.write(offset, length);
        else if (kind === 'read') model.read(offset, length);
        else if (kind === 'end') model.end(pick);
        else if (kind === 'hold') model.hold();
        else model.release();
        expect(model.captured).toEqual(model.disk);
      }
      model.release();
      while (model.running.length > 0) model.end(0);
      expect(model.captured).toEqual(model.disk);
      expect([model.problems, model.uncompleted.size, model.splitter.inFlightCount, model.splitter.heldCount]).toEqual([[], 0, 0, 0]);
    }), { numRuns: 300 });
  });
});
