import type { Socket } from 'node:net';
import { unreachable } from '@tidemark/base';
import {
  blockStatusReply, errorReply, mergedRuns, NbdErrno, type NbdRequest, NbdServerSession, type NbdServerEvent, OFFSET_DATA_HEADER_BYTES,
  putOffsetData, putSimpleReply, SIMPLE_REPLY_BYTES, STATUS_BYTES_MAX, STATUS_RUNS_MAX,
} from '@tidemark/nbd';
import { adoptSocket, payloadPool } from '@tidemark/sys';
import type { AllocationRun, Volume } from '@tidemark/volume';
import type { ConnectionLimits } from './connection-limits.js';
import { nbdErrnoOf } from './errno.js';
import type { ExportConnection, ExportEntry, ExportTable } from './export-table.js';
import { Outbox, type Reservation } from './outbox.js';
import { ReceiveBuffers } from './receive-buffers.js';
import { readSparse, SPARSE_READ_BYTES_MIN } from './sparse-read.js';
import type { VolumeSlot } from './volume-slot.js';

export interface ConnectionOptions {
  readonly table: ExportTable;
  readonly limits: ConnectionLimits;
  /** TLS stands already; the client flags came before it. */
  readonly clientFlags?: number;
  /** Told once per connection that broke the protocol, and of every request that failed for no reason of a volume. */
  readonly onProblem: (error: unknown) => void;
}

/** Flush within a long batch of replies: the client can begin with the first ones, and memory stays bounded. */
const FLUSH_BYTES = 256 * 1024;
const FUA = { isFua: true } as const;
const UNMAP = { mayUnmap: true } as const;
const UNMAP_FUA = { mayUnmap: true, isFua: true } as const;

/** One client: its socket, its session, its requests in flight. */
export class Connection implements ExportConnection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #session: NbdServerSession;
  readonly #buffers: ReceiveBuffers;
  readonly #outbox: Outbox;
  readonly #handshakeTimer: NodeJS.Timeout;
  readonly #closed: Promise<void>;
  #entry: ExportEntry | undefined;
  #inFlight = 0;
  #inFlightBytes = 0;
  #isEnding = false;
  #isFlushScheduled = false;
  #isPumping = false;

  /** Takes over `accepted`, which must not have read anything yet. */
  constructor(accepted: Socket, options: ConnectionOptions) {
    this.#options = options;
    this.#session = new NbdServerSession({
      exports: options.table, allocate: (bytes) => payloadPool.take(bytes), ...(options.clientFlags === undefined ? {} : { tls: { clientFlags: options.clientFlags } }),
    });
    this.#buffers = new ReceiveBuffers(this.#session);
    this.#socket = this.#receive(accepted);
    this.#outbox = new Outbox(this.#socket);
    this.#handshakeTimer = setTimeout(() => this.#socket.destroy(), options.limits.handshakeMs);
    this.#closed = new Promise((resolve) => this.#socket.once('close', resolve));
    this.#socket.on('drain', () => this.#pump());
    this.#socket.on('error', () => this.#socket.destroy()); // a client that is gone is no problem of ours
    this.#socket.on('close', () => this.#cleanUp());
    this.#pump();
  }

  onClosed(callback: () => void): void {
    this.#socket.once('close', callback);
  }

  #receive(accepted: Socket): Socket {
    const own = adoptSocket(accepted, {
      buffer: () => this.#buffers.next(),
      callback: (bytes, buffer) => {
        this.#buffers.arrived(bytes, buffer);
        this.#pump();
        return true;
      },
    });
    if (own !== undefined) return own.setNoDelay(true).setKeepAlive(true);
    accepted.on('data', (chunk) => {
      this.#session.feed(chunk);
      this.#pump();
    });
    return accepted;
  }

  async drain(): Promise<void> {
    this.#isEnding = true;
    this.#socket.pause();
    this.#endIfIdle();
    await this.#closed;
  }

  /** Takes requests while the limits allow; then the socket is not read until some are done. */
  #pump(): void {
    if (this.#isPumping || this.#isEnding) return;
    this.#isPumping = true;
    try {
      this.#takeEvents();
    } catch (error) {
      // Hostile bytes, or a bug of ours: this client is dropped at once, the others never notice.
      this.#options.onProblem(error);
      this.#isEnding = true;
      this.#socket.destroy();
    } finally {
      this.#isPumping = false;
    }
    this.#outbox.flush();
    this.#endIfIdle();
  }

  #takeEvents(): void {
    for (;;) {
      if (!this.#hasRoom()) {
        this.#socket.pause();
        return;
      }
      const event = this.#session.next();
      if (event === undefined) break;
      this.#handle(event);
      if (this.#isEnding) return;
    }
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #hasRoom(): boolean {
    const { requestsMax, requestBytesMax, replyBytesMax } = this.#options.limits;
    if (this.#outbox.pendingBytes >= FLUSH_BYTES) this.#outbox.flush();
    return this.#inFlight < requestsMax && this.#inFlightBytes < requestBytesMax && this.#socket.writableLength < replyBytesMax;
  }

  #handle(event: NbdServerEvent): void {
    switch (event.kind) {
      case 'send':
        return this.#outbox.push(event.bytes);
      case 'attach':
        return this.#attach(event.exportName);
      case 'request':
        return this.#start(event);
      case 'startTls':
      case 'disconnect':
        this.#isEnding = true;
        return;
      default:
        return unreachable(event);
    }
  }

  #attach(exportName: string): void {
    clearTimeout(this.#handshakeTimer);
    this.#entry = this.#options.table.find(exportName);
    if (this.#entry === undefined) this.#socket.destroy();
    else this.#entry.connections.add(this);
  }

  #start(request: NbdRequest): void {
    const slot = this.#entry?.slot;
    if (request.command === 'write') {
      payloadPool.retain(request.payload);
      this.#buffers.payloadTaken(request.length);
    }
    if (slot === undefined) return this.#fail(request, undefined);
    try {
      this.#run(request, slot);
    } catch (error) {
      this.#fail(request, error);
    }
  }

  #run(request: NbdRequest, slot: VolumeSlot): void {
    const { volume } = slot;
    switch (request.command) {
      case 'read':
        return this.#read(request, slot);
      case 'write':
        return this.#write(request, slot);
      case 'writeZeroes':
        return this.#settle(request, slot, volume.writeZeroes(request.offset, request.length, zeroOptionsOf(request)));
      case 'flush':
        return this.#settle(request, slot, volume.flush());
      case 'blockStatus':
        return this.#blockStatus(request, slot);
      default:
        return unreachable(request.command);
    }
  }

  #write(request: NbdRequest, slot: VolumeSlot): void {
    const { volume } = slot;
    const done = volume.write(request.offset, request.payload, request.isFua ? FUA : undefined);
    if (done === undefined) {
      letGo(request, volume);
      return this.#succeed(request);
    }
    this.#later(request, slot, done.then(() => this.#succeed(request)).finally(() => letGo(request, volume)));
  }

  /** Done at once: no promise, no closure, 16 bytes into the slab. That is the path of nearly every small write. */
  #settle(request: NbdRequest, slot: VolumeSlot, done: void | Promise<void>): void {
    if (done === undefined) return this.#succeed(request);
    this.#later(request, slot, done.then(() => this.#succeed(request)));
  }

  #succeed(request: NbdRequest): void {
    const reply = this.#outbox.reserve(SIMPLE_REPLY_BYTES);
    putSimpleReply(reply.view, reply.start, { cookieHigh: request.cookieHigh, cookieLow: request.cookieLow, errno: 0 });
    this.#outbox.commit(reply);
  }

  #read(request: NbdRequest, slot: VolumeSlot): void {
    if (request.isStructured && !request.isUnfragmented && request.length >= SPARSE_READ_BYTES_MIN) {
      const { offset, length } = request;
      const chunks = readSparse(slot.volume, { cookie: request, offset, length });
      return this.#later(request, slot, chunks.then((list) => list.forEach((chunk) => this.#outbox.push(chunk))));
    }
    const reply = this.#readReply(request);
    const target = reply.slab.subarray(reply.end - request.length, reply.end);
    const done = slot.volume.read(request.offset, target);
    if (done === undefined) return this.#outbox.commit(reply);
    this.#later(request, slot, done.then(() => this.#outbox.commit(reply)));
  }

  /** Header and room for the bytes in one place, so that the volume reads to where the socket writes from. */
  #readReply(request: NbdRequest): Reservation {
    const { cookieHigh, cookieLow, offset, length } = request;
    const headerBytes = request.isStructured ? OFFSET_DATA_HEADER_BYTES : SIMPLE_REPLY_BYTES;
    const reply = this.#outbox.reserve(headerBytes + length);
    if (request.isStructured) putOffsetData(reply.view, reply.start, { cookie: request, offset, length, isLast: true });
    else putSimpleReply(reply.view, reply.start, { cookieHigh, cookieLow, errno: 0 });
    return reply;
  }

  #blockStatus(request: NbdRequest, slot: VolumeSlot): void {
    const length = Math.min(request.length, STATUS_BYTES_MAX);
    const answer = (runs: readonly AllocationRun[]): void => {
      const merged = mergedRuns(runs, { length, runsMax: request.isOneRun ? 1 : STATUS_RUNS_MAX });
      this.#outbox.push(merged.length > 0 ? blockStatusReply(request, merged) : errorReply(request, NbdErrno.eio, 'no runs'));
    };
    const runs = slot.volume.allocation(request.offset, length);
    if (runs instanceof Promise) this.#later(request, slot, runs.then(answer));
    else answer(runs);
  }

  /** A request that waits for its volume. Its slot stays that of its start, whatever the export gets meanwhile. */
  #later(request: NbdRequest, slot: VolumeSlot, answered: Promise<void>): void {
    const bytes = request.command === 'read' ? request.length : request.payload.length;
    this.#inFlight += 1;
    this.#inFlightBytes += bytes;
    slot.begin();
    const ended = (): void => {
      this.#inFlight -= 1;
      this.#inFlightBytes -= bytes;
      slot.end();
      this.#scheduleFlush();
    };
    answered.then(ended, (error: unknown) => {
      this.#fail(request, error);
      ended();
    });
  }

  #fail(request: NbdRequest, error: unknown): void {
    const errno = nbdErrnoOf(error);
    if (errno === NbdErrno.eio) this.#options.onProblem(error);
    this.#outbox.push(errorReply(request, errno, ''));
  }

  /** Completions of one turn of the event loop leave together, and make room together. */
  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    setImmediate(() => {
      this.#isFlushScheduled = false;
      this.#outbox.flush();
      this.#pump();
      this.#endIfIdle();
    });
  }

  #endIfIdle(): void {
    if (!this.#isEnding || this.#inFlight > 0 || this.#socket.writableEnded) return;
    this.#outbox.flush();
    this.#socket.destroySoon(); // sends what is left, then closes
    setTimeout(() => this.#socket.destroy(), this.#options.limits.lingerMs).unref();
  }

  #cleanUp(): void {
    clearTimeout(this.#handshakeTimer);
    this.#isEnding = true;
    this.#buffers.close();
    this.#entry?.connections.delete(this);
  }
}

/** A volume that promises nothing may keep the payload as long as it likes: then the collector has it. */
function letGo(request: NbdRequest, volume: Volume): void {
  if (volume.isSourceFreeWhenDone === true) payloadPool.release(request.payload);
}

function zeroOptionsOf(request: NbdRequest): { mayUnmap?: boolean; isFua?: boolean } | undefined {
  if (request.mayUnmap) return request.isFua ? UNMAP_FUA : UNMAP;
  return request.isFua ? FUA : undefined;
}
