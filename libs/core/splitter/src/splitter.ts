import { assert } from '@tidemark/base';
import { ActiveRequests } from './active-requests.js';
import type { Request } from './request.js';
import type { CaptureFence, CaptureSink, GuestRead, GuestWrite, SplitterEffect } from './types.js';

/**
 * Stands between a VM's guest and its protected volumes. Writes go to the protected volume first, then into every sink, then the guest is
 * told. Requests that overlap are kept in the order of submission (two reads may pass each other), so the order on the volume is the order of
 * capture, and no read returns bytes of a write that has not been completed: with that, holding the completion of a write holds every
 * knowledge of it. FLUSH does not pass here.
 */
export class Splitter implements CaptureFence {
  readonly #sinks = new Map<string, CaptureSink>();
  /** What the hot path walks: the values of #sinks. */
  #sinkList: readonly CaptureSink[] = [];
  readonly #requests = new Map<number, Request>();
  /** Of each volume, what is not completed. */
  readonly #active: ActiveRequests[] = [];
  /** Active holds: key to serial. */
  readonly #holds = new Map<string, number>();
  #holdSerial = 0;
  /** Captured writes whose completion is held, oldest first. Their hold serials never fall. */
  #held: Request[] = [];
  #nextId = 1;

  /** Requests that are not completed. */
  get inFlightCount(): number {
    return this.#requests.size;
  }

  /** Writes whose completion is held back now. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** From now on every write that succeeds locally is captured by `sink` too, those in flight included. */
  addSink(key: string, sink: CaptureSink): void {
    assert(!this.#sinks.has(key), 'one sink per key');
    this.#sinks.set(key, sink);
    this.#sinkList = [...this.#sinks.values()];
  }

  /** Takes the sink out, and ends its hold. An unknown key is none. */
  removeSink(key: string, effects: SplitterEffect[]): void {
    this.#sinks.delete(key);
    this.#sinkList = [...this.#sinks.values()];
    this.release(key, effects);
  }

  /** From now on completions of captured writes are held back (not the writes). A second hold of the same key goes on as the first. */
  hold(key: string, _effects: SplitterEffect[]): void {
    if (this.#holds.has(key)) return;
    this.#holdSerial += 1;
    this.#holds.set(key, this.#holdSerial);
  }

  isHolding(key: string): boolean {
    return this.#holds.has(key);
  }

  /** Ends the key's hold and completes what no other hold keeps that was on when it was captured. Without a hold: nothing. */
  release(key: string, effects: SplitterEffect[]): void {
    if (!this.#holds.delete(key)) return;
    const firstHold = Math.min(Infinity, ...this.#holds.values());
    const held = this.#held;
    let count = 0;
    for (let request = held[0]; request !== undefined && request.holdSerial < firstHold; request = held[count]) {
      count += 1;
      this.#complete(request, true, effects);
    }
    this.#held = held.slice(count);
  }

  /** Returns the id that `writeLocal`, `localWriteDone` and `complete` carry. The local write may have to wait for overlapping requests. */
  submitWrite(write: GuestWrite, effects: SplitterEffect[]): number {
    assert(write.length > 0 && (write.payload === undefined || write.payload.byteLength === write.length), 'length of a write');
    return this.#submit(write.volume, write.offset, write.length, write, effects);
  }

  submitRead(read: GuestRead, effects: SplitterEffect[]): number {
    assert(read.length > 0, 'length of a read');
    return this.#submit(read.volume, read.offset, read.length, undefined, effects);
  }

  /** The local write has ended. If it succeeded, every sink captures it; the guest is told now, or when the holds end. */
  localWriteDone(writeId: number, isOk: boolean, effects: SplitterEffect[]): void {
    const request = this.#requests.get(writeId);
    assert(request?.write !== undefined && request.state === 'local', 'end of a local write that was started');
    if (isOk) for (const sink of this.#sinkList) sink.capture(request.write);
    else for (const sink of this.#sinkList) sink.captureFailed(request.write);
    request.state = 'held';
    if (request.waiters !== undefined) this.#unblock(request.waiters, 'writes', effects);
    if (isOk && this.#holds.size > 0) {
      request.holdSerial = this.#holdSerial;
      this.#held.push(request);
      return;
    }
    this.#complete(request, isOk, effects);
  }

  /** The read has ended, well or not: writes that overlap it may go. */
  readDone(readId: number, effects: SplitterEffect[]): void {
    const request = this.#requests.get(readId);
    assert(request !== undefined && request.write === undefined && request.state === 'local', 'end of a read that was started');
    this.#forget(request);
    if (request.waiters !== undefined) this.#unblock(request.waiters, 'writes', effects);
  }

  fence(): number {
    return this.#nextId;
  }

  isPast(fence: number): boolean {
    for (const request of this.#requests.values()) {
      if (request.id >= fence) return true;
      if (request.write !== undefined && request.state !== 'held') return false;
    }
    return true;
  }

  #submit(volume: number, offset: number, length: number, write: GuestWrite | undefined, effects: SplitterEffect[]): number {
    const id = this.#nextId;
    this.#nextId += 1;
    const request: Request = {
      id, volume, write, state: 'waiting', blockerCount: 0, waiters: undefined, holdSerial: 0, slot: 0,
    };
    this.#requests.set(id, request);
    const active = (this.#active[volume] ??= new ActiveRequests());
    active.add(request, offset, offset + length);
    if (request.blockerCount === 0) start(request, effects);
    return id;
  }

  /** One blocker less for those of `waiters` that are writes (or reads); the last one lets a request start. */
  #unblock(waiters: readonly Request[], which: 'writes' | 'reads', effects: SplitterEffect[]): void {
    for (const waiter of waiters) {
      if ((waiter.write !== undefined) !== (which === 'writes')) continue;
      waiter.blockerCount -= 1;
      if (waiter.blockerCount === 0) start(waiter, effects);
    }
  }

  #complete(request: Request, isOk: boolean, effects: SplitterEffect[]): void {
    this.#forget(request);
    effects.push({ kind: 'complete', writeId: request.id, isOk });
    if (request.waiters !== undefined) this.#unblock(request.waiters, 'reads', effects);
  }

  #forget(request: Request): void {
    this.#requests.delete(request.id);
    this.#active[request.volume]?.remove(request);
  }
}

function start(request: Request, effects: SplitterEffect[]): void {
  request.state = 'local';
  effects.push(request.write === undefined ? { kind: 'startRead', readId: request.id } : { kind: 'writeLocal', writeId: request.id });
}
