import { assert, type NbdAddress } from '@tidemark/base';
import { CLIENT_STATUS_BYTES_MAX, NbdErrno, type NbdClientRequest, type NbdExportFacts, type NbdStatusRun } from '@tidemark/nbd';
import { assertInVolume, checkOpen, checkWritable, VolumeError, type AllocationRun, type Volume, type WriteOptions, type WriteZeroesOptions } from '@tidemark/volume';
import type { ConnectionOptions } from 'node:tls';
import { describeAddress, NbdConnection, probeOf, type RequestDone } from './nbd-connection.js';

const KiB = 1024;
const MiB = 1024 * KiB;

/** How long things may take; each has a default that suits a protected volume. */
export interface NbdVolumeLimits {
  /** Connecting, negotiating, and a first block. 5 s. */
  readonly connectMs: number;
  /** A request that the server does not answer for so long: the connection is given up as stuck. 30 s. */
  readonly requestMs: number;
  /** How long requests wait for a lost server before they fail; from then on they fail at once, until it is back. 25 s. */
  readonly patienceMs: number;
  /** After a connection with writes in flight was lost nothing is sent for so long: see {@link NbdVolume}. 250 ms. */
  readonly settleMs: number;
  /** Nothing was asked of the server for so long: a block is, so that one that has stopped is known before its user needs it. 5 s. */
  readonly idleMs: number;
}

export const NBD_VOLUME_LIMITS: NbdVolumeLimits = { connectMs: 5000, requestMs: 30_000, patienceMs: 25_000, settleMs: 250, idleMs: 5000 };

/** On the wire together. What a guest sends beyond waits here in order; its own connection bounds how much that is. */
const IN_FLIGHT_MAX = 128;
const IN_FLIGHT_BYTES_MAX = 32 * MiB;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 2000;
/** The protocol's 32-bit length, in whole blocks of any size that a server may have. */
const LENGTH_MAX = 2 ** 32 - 64 * KiB;
const ZEROES = new Uint8Array(1 * MiB);

/** Who should answer does not. */
export interface Outage {
  /** On the clock of `performance.now()`. */
  readonly sinceMs: number;
  readonly reason: string;
}

interface Pending {
  readonly request: NbdClientRequest;
  readonly bytes: number;
  sentAtMs: number;
  resolve(done: RequestDone): void;
  reject(error: Error): void;
}

export interface NbdVolumeHooks {
  /** The connection is gone; requests wait. For the log. */
  onLost?(cause: Error): void;
  /**
   * Connected again. The server may have been restarted, or its host: writes that were answered and not flushed may be gone. Called
   * before anything of the volume's users is sent.
   */
  onReconnected?(): void;
}

export interface NbdVolumeOptions {
  readonly isReadOnly: boolean;
  readonly limits?: Partial<NbdVolumeLimits>;
  readonly hooks?: NbdVolumeHooks;
  /**
   * STARTTLS, and nothing without it; asked for each connection, so that a renewed certificate is shown by the next one. Its `checkServerIdentity` decides who the
   * server may be.
   */
  readonly tls?: () => ConnectionOptions;
}

/**
 * A volume over an export of any NBD server. It connects again by itself, after 50 ms … 2 s; the server is back when it has also answered a request: until then it is one
 * outage, and users' requests wait here.
 *
 * When a connection is lost, what was in flight is sent again, in its old order and before anything newer. That is right for reads, flushes
 * and block status; for writes and zeroes it is right because a request is in flight until it is answered here, and whoever
 * uses a volume keeps overlapping requests apart (the splitter does): nothing newer can have reached the range. One danger stays: a server that still
 * has a request of the old connection in hand could carry it out after its repetition, and after a newer overlapping write. So nothing is sent
 * for `settleMs` after a loss with writes in flight, and of a *stuck* connection (a request unanswered for `requestMs`) writes are never
 * repeated: they fail, and the range holds old or new bytes. Reads of a stuck connection are repeated.
 *
 * The server is trusted to keep what it has answered when only a connection ends. If it may have restarted, what was not flushed may be gone; the
 * owner hears of it ({@link NbdVolumeHooks.onReconnected}). A flush that the server answers with an error makes every later flush fail, as for a file.
 */
export class NbdVolume implements Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  #connection: NbdConnection | undefined;
  #waiting: Pending[] = [];
  /** By cookie, oldest first. */
  readonly #sent = new Map<number, Pending>();
  #sentBytes = 0;
  /** Our own, begun while nothing was in flight. Takes none of the users' room; they, and closing, do not wait for it. */
  #keepAlive: { readonly cookie: number; readonly sentAtMs: number } | undefined;
  #answeredAtMs = 0;
  #lostAtMs = 0;
  #loss: Outage | undefined;
  #notBeforeMs = 0;
  #isClosed = false;
  #isReconnecting = false;
  #flushError: VolumeError | undefined;
  #watch: NodeJS.Timeout | undefined;
  readonly #stopping = new AbortController();
  #onIdle: (() => void) | undefined;

  private constructor(
    readonly address: NbdAddress,
    readonly facts: NbdExportFacts,
    private readonly options: { readonly limits: NbdVolumeLimits; readonly hooks: NbdVolumeHooks; readonly isReadOnly: boolean; readonly tls: NbdVolumeOptions['tls'] },
  ) {
    this.sizeBytes = facts.sizeBytes;
    this.isReadOnly = options.isReadOnly;
  }

  /** Throws {@link VolumeError}: `VOLUME_NOT_FOUND`, `VOLUME_READ_ONLY`, or `VOLUME_IO` when there is no server or it is not fit for use. */
  static async connect(address: NbdAddress, options: NbdVolumeOptions): Promise<NbdVolume> {
    const limits = { ...NBD_VOLUME_LIMITS, ...options.limits };
    const { connection, facts } = await NbdConnection.open(address, { timeoutMs: limits.connectMs, signal: new AbortController().signal, tls: options.tls });
    try {
      if (!options.isReadOnly) checkFitForWriting(address, facts);
      const volume = new NbdVolume(address, facts, { limits, hooks: options.hooks ?? {}, isReadOnly: options.isReadOnly, tls: options.tls });
      volume.#use(connection);
      return volume;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  /** False while the server is lost. */
  get isConnected(): boolean {
    return this.#connection !== undefined;
  }

  /** Since the server is lost, or, with a connection, since the oldest request was sent that it has not answered: of a server that works, milliseconds ago. */
  get outage(): Outage | undefined {
    const oldest = this.#keepAlive ?? firstOf(this.#sent);
    return this.#loss ?? (oldest && { sinceMs: oldest.sentAtMs, reason: 'it takes requests and does not answer them' });
  }

  async read(offset: number, target: Uint8Array): Promise<void> {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, target.length);
    const step = this.facts.payloadBytesMax;
    const parts: Promise<RequestDone>[] = [];
    for (let at = 0; at < target.length; at += step) {
      parts.push(this.#submit({ kind: 'read', offset: offset + at, target: target.subarray(at, at + step) }));
    }
    await Promise.all(parts);
  }

  async write(offset: number, source: Uint8Array, options?: WriteOptions): Promise<void> {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, source.length);
    const isFua = options?.isFua === true;
    const step = this.facts.payloadBytesMax;
    const parts: Promise<RequestDone>[] = [];
    for (let at = 0; at < source.length; at += step) {
      parts.push(this.#submit({ kind: 'write', offset: offset + at, source: source.subarray(at, at + step), isFua: isFua && this.facts.canFua }));
    }
    await this.#durableIf(isFua, parts);
  }

  async writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Promise<void> {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, length);
    const isFua = options?.isFua === true;
    const mayUnmap = options?.mayUnmap === true;
    const isFuaSent = isFua && this.facts.canFua;
    const step = this.facts.canWriteZeroes ? LENGTH_MAX : Math.min(ZEROES.length, this.facts.payloadBytesMax);
    const parts: Promise<RequestDone>[] = [];
    for (let at = 0; at < length; at += step) {
      const part = { offset: offset + at, length: Math.min(step, length - at) };
      parts.push(this.#submit(this.facts.canWriteZeroes
        ? { kind: 'writeZeroes', ...part, isFua: isFuaSent, mayUnmap, isFastOnly: false }
        : { kind: 'write', offset: part.offset, source: ZEROES.subarray(0, part.length), isFua: isFuaSent }));
    }
    await this.#durableIf(isFua, parts);
  }

  async #durableIf(isFua: boolean, parts: readonly Promise<RequestDone>[]): Promise<void> {
    await allEnded(parts);
    if (isFua && !this.facts.canFua && parts.length > 0) await this.flush();
  }

  async flush(): Promise<void> {
    checkOpen(this.#isClosed);
    if (this.#flushError !== undefined) throw this.#flushError;
    if (!this.facts.canFlush) return;
    try {
      await this.#submit({ kind: 'flush' });
    } catch (error) {
      if (error instanceof ServerError) this.#flushError = error;
      throw error;
    }
  }

  async allocation(offset: number, length: number): Promise<AllocationRun[]> {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, length);
    if (length === 0) return [];
    if (!this.facts.hasAllocation) return [{ length, isHole: false, isZero: false }];
    const runs: NbdStatusRun[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const done = await this.#submit({ kind: 'status', offset: at, length: Math.min(CLIENT_STATUS_BYTES_MAX, end - at) });
      for (const run of done.runs) {
        runs.push(run);
        at += run.length;
      }
    }
    return runs;
  }

  /** Waits for what users have in flight (not for a lost server), then says goodbye. Does not flush. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#connection === undefined) this.#failWaiting(new VolumeError('VOLUME_CLOSED', 'the volume is closed'));
    else if (this.#sent.size > 0 || this.#waiting.length > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#stopping.abort();
    clearInterval(this.#watch);
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.disconnect();
  }

  #submit(request: NbdClientRequest): Promise<RequestDone> {
    if (this.#isGivenUp()) return Promise.reject(new VolumeError('VOLUME_IO', `${describeAddress(this.address)} has been unreachable for too long`));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, bytes: bytesOf(request), sentAtMs: 0, resolve, reject });
      this.#pump();
    });
  }

  #isGivenUp(): boolean {
    return this.#connection === undefined && performance.now() - this.#lostAtMs > this.options.limits.patienceMs;
  }

  #use(connection: NbdConnection): void {
    this.#connection = connection;
    this.#loss = undefined;
    this.#answeredAtMs = performance.now();
    connection.start({
      onDone: (done) => this.#done(done),
      onLost: (cause) => this.#lost(cause, { isStuck: false }),
      onDrain: () => this.#pump(),
    });
    clearInterval(this.#watch);
    const { requestMs, idleMs } = this.options.limits;
    this.#watch = setInterval(() => this.#look(), Math.min(1000, requestMs / 4, idleMs)).unref();
    this.#pump();
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === undefined || performance.now() < this.#notBeforeMs) return;
    let count = 0;
    for (const pending of this.#waiting) {
      const hasRoom = this.#sent.size < IN_FLIGHT_MAX && (this.#sent.size === 0 || this.#sentBytes + pending.bytes <= IN_FLIGHT_BYTES_MAX);
      if (!hasRoom || connection.isFull) break;
      count += 1;
      pending.sentAtMs = performance.now();
      this.#sentBytes += pending.bytes;
      this.#sent.set(connection.request(pending.request), pending);
    }
    if (count > 0) this.#waiting = this.#waiting.slice(count);
  }

  #done(done: RequestDone): void {
    this.#answeredAtMs = performance.now();
    if (done.cookie === this.#keepAlive?.cookie) {
      this.#keepAlive = undefined;
      return;
    }
    const pending = this.#sent.get(done.cookie);
    assert(pending !== undefined, 'end of a request that was sent');
    this.#sent.delete(done.cookie);
    this.#sentBytes -= pending.bytes;
    if (done.errno === 0) pending.resolve(done);
    else pending.reject(errorOf(done, pending.request));
    this.#pump();
    if (this.#sent.size === 0 && this.#waiting.length === 0) this.#onIdle?.();
  }

  /** A keep-alive gives the connection up only when it is alone: a user's write has its whole time, however late it came. */
  #look(): void {
    const oldest = firstOf(this.#sent) ?? this.#keepAlive;
    if (oldest === undefined) {
      this.#askIfIdle();
      return;
    }
    if (performance.now() - oldest.sentAtMs < this.options.limits.requestMs) return;
    this.#connection?.destroy();
    this.#lost(new Error(`a request was not answered for ${String(this.options.limits.requestMs)} ms`), { isStuck: true });
  }

  #askIfIdle(): void {
    const sentAtMs = performance.now();
    if (this.#connection === undefined || this.sizeBytes === 0 || this.#waiting.length > 0 || sentAtMs - this.#answeredAtMs < this.options.limits.idleMs) return;
    this.#keepAlive = { cookie: this.#connection.request(probeOf(this.facts)), sentAtMs };
  }

  #lost(cause: Error, { isStuck }: { readonly isStuck: boolean }): void {
    clearInterval(this.#watch);
    this.#connection = undefined;
    this.#lostAtMs = performance.now();
    this.#loss = { sinceMs: this.outage?.sinceMs ?? this.#lostAtMs, reason: cause.message };
    const inFlight = [...this.#sent.values()];
    this.#sent.clear();
    this.#keepAlive = undefined;
    this.#sentBytes = 0;
    const isChange = ({ request }: Pending): boolean => request.kind === 'write' || request.kind === 'writeZeroes';
    this.#notBeforeMs = inFlight.some(isChange) ? this.#lostAtMs + this.options.limits.settleMs : 0;
    this.#waiting = [...inFlight.filter((pending) => !(isStuck && isChange(pending))), ...this.#waiting];
    const failure = new VolumeError('VOLUME_IO', `${describeAddress(this.address)}: ${cause.message}`, { cause });
    if (isStuck) for (const pending of inFlight.filter(isChange)) pending.reject(failure);
    if (this.#isClosed) {
      this.#failWaiting(failure);
      return;
    }
    this.options.hooks.onLost?.(cause);
    if (!this.#isReconnecting) void this.#reconnect();
  }

  /** Owned by this volume: ends with a connection or with close(). */
  async #reconnect(): Promise<void> {
    this.#isReconnecting = true;
    const { limits } = this.options;
    for (let backoffMs = BACKOFF_MS_MIN; !this.#isClosed; backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX)) {
      await pause(Math.max(backoffMs, this.#notBeforeMs - performance.now()), this.#stopping.signal);
      const opened = await this.#attempt();
      if (opened !== undefined) {
        this.#isReconnecting = false;
        if (this.#isClosed) return opened.destroy();
        this.options.hooks.onReconnected?.();
        return this.#use(opened);
      }
      if (performance.now() - this.#lostAtMs > limits.patienceMs) this.#failWaiting(new VolumeError('VOLUME_IO', `${describeAddress(this.address)} cannot be reached`));
    }
    this.#isReconnecting = false;
  }

  /** A server that comes back with another export under the name is none: a guest must not find another disk under its feet. */
  async #attempt(): Promise<NbdConnection | undefined> {
    const timeoutMs = this.options.limits.connectMs;
    try {
      const { connection, facts } = await NbdConnection.open(this.address, { timeoutMs, signal: this.#stopping.signal, tls: this.options.tls });
      const isSame = (Object.keys(facts) as (keyof NbdExportFacts)[]).every((key) => facts[key] === this.facts[key]);
      if (isSame) return connection;
      connection.destroy();
      this.options.hooks.onLost?.(new Error(`${describeAddress(this.address)} is not what it was: ${JSON.stringify(facts)}`));
    } catch (error) {
      if (!(error instanceof VolumeError)) throw error;
    }
    return undefined;
  }

  #failWaiting(error: VolumeError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const pending of waiting) pending.reject(error);
    this.#onIdle?.();
  }
}

/** The server's own answer, not the way to it. */
class ServerError extends VolumeError {}

function errorOf(done: RequestDone, request: NbdClientRequest): VolumeError {
  const text = `NBD ${request.kind}: errno ${String(done.errno)}${done.message === '' ? '' : ` (${done.message})`}`;
  if (done.errno === NbdErrno.enospc) return new ServerError('VOLUME_FULL', text);
  if (done.errno === NbdErrno.eperm) return new ServerError('VOLUME_READ_ONLY', text);
  return new ServerError('VOLUME_IO', text);
}

function checkFitForWriting(address: NbdAddress, facts: NbdExportFacts): void {
  if (facts.isReadOnly) throw new VolumeError('VOLUME_READ_ONLY', `${describeAddress(address)} is read-only`);
  if (!facts.canFlush) throw new VolumeError('VOLUME_IO', `${describeAddress(address)} offers no FLUSH: nothing could ever be made durable there`);
}

const firstOf = <T>(map: ReadonlyMap<number, T>): T | undefined => map.values().next().value;

function bytesOf(request: NbdClientRequest): number {
  if (request.kind === 'read') return request.target.length;
  return request.kind === 'write' ? request.source.length : 0;
}

/** Waits for all of them, then throws the first error: a caller may use its memory again when this has ended. */
async function allEnded(parts: readonly Promise<RequestDone>[]): Promise<void> {
  const ends = await Promise.allSettled(parts);
  for (const end of ends) if (end.status === 'rejected') throw end.reason as Error;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, Math.max(0, ms));
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
