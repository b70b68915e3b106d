import { type NbdAddress } from '@tidemark/base';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { disconnectRequest, NbdClientSession, type NbdClientEvent, type NbdClientRequest, type NbdExportFacts } from '@tidemark/nbd';
import { VolumeError } from '@tidemark/volume';

export type RequestDone = Extract<NbdClientEvent, { kind: 'done' }>;

export interface ConnectionHandlers {
  onDone(done: RequestDone): void;
  /** Once, when the connection is gone, for whatever reason; not after {@link NbdConnection.destroy} or a polite end. */
  onLost(cause: Error): void;
  /** The socket takes bytes again after {@link NbdConnection.isFull}. */
  onDrain(): void;
}

/** Of an export with at least a block: costs nothing, changes nothing. */
export const probeOf = ({ blockBytesMin, sizeBytes }: NbdExportFacts): NbdClientRequest => ({ kind: 'read', offset: 0, target: new Uint8Array(Math.min(blockBytesMin, sizeBytes)) });

const NOT_YET: ConnectionHandlers = { onDone: () => undefined, onLost: () => undefined, onDrain: () => undefined };

export const describeAddress = (address: NbdAddress): string =>
  address.kind === 'unix' ? `nbd+unix:///${address.exportName}?socket=${address.socketPath}` : `nbd://${address.host}:${String(address.port)}/${address.exportName}`;

export interface ConnectionLimits {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** See {@link NbdVolume.connect}. */
  readonly tls?: (() => ConnectionOptions) | undefined;
}

/** One connection to one export, negotiated. */
export class NbdConnection {
  readonly #session: NbdClientSession;
  /** Of the clear text first, then of TLS. */
  #socket: Socket;
  #handlers = NOT_YET;
  #isGone = false;

  private constructor(
    socket: Socket,
    exportName: string,
    private readonly tls: (() => ConnectionOptions) | undefined,
  ) {
    this.#socket = socket;
    this.#session = new NbdClientSession(exportName, { isTlsWanted: tls !== undefined });
  }

  /**
   * Connects, negotiates and reads a block: a server may do the first two and answer no request (stopped behind a proxy, its storage hanging). An error for
   * the block is an answer. Throws {@link VolumeError}: `VOLUME_NOT_FOUND` when the server has no such export, else `VOLUME_IO`, with the address in its message.
   */
  static async open(address: NbdAddress, limits: ConnectionLimits): Promise<{ readonly connection: NbdConnection; readonly facts: NbdExportFacts }> {
    const socket = address.kind === 'unix' ? connect({ path: address.socketPath }) : connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
    const connection = new NbdConnection(socket, address.exportName, limits.tls);
    const stop = (): void => void connection.#socket.destroy(new Error('given up'));
    const timer = setTimeout(() => connection.#socket.destroy(new Error(`no answer within ${String(limits.timeoutMs)} ms`)), limits.timeoutMs);
    limits.signal.addEventListener('abort', stop, { once: true });
    try {
      return { connection, facts: await connection.#negotiate() };
    } catch (cause) {
      connection.destroy();
      if (cause instanceof VolumeError) throw new VolumeError(cause.code, `${describeAddress(address)}: ${cause.message}`, { cause });
      throw new VolumeError('VOLUME_IO', `${describeAddress(address)}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
      limits.signal.removeEventListener('abort', stop);
    }
  }

  #negotiate(): Promise<NbdExportFacts> {
    return new Promise((resolve, reject) => {
      let facts: NbdExportFacts | undefined;
      this.#onEvent = (event) => {
        if (event.kind === 'ready') {
          facts = event.facts;
          if (facts.sizeBytes === 0) resolve(facts);
          else this.request(probeOf(facts));
        } else if (event.kind === 'done' && facts) resolve(facts);
        else if (event.kind === 'refused') reject(new VolumeError(event.isMissing ? 'VOLUME_NOT_FOUND' : 'VOLUME_IO', event.message));
      };
      this.#handlers = { ...NOT_YET, onLost: reject };
      this.#listen(this.#socket);
    });
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('drain', () => this.#handlers.onDrain());
    socket.on('error', (error) => this.#lost(error));
    socket.on('close', () => this.#lost(new Error('the server closed the connection')));
  }

  /** The server is who it should be, or the connection is lost: `tls` looks at its certificate. */
  #secure(tls: () => ConnectionOptions): void {
    const plain = this.#socket;
    for (const event of ['data', 'drain', 'error', 'close']) plain.removeAllListeners(event);
    const secure = connectTls({ ...tls(), socket: plain });
    this.#socket = secure;
    this.#listen(secure);
    secure.once('secureConnect', () => {
      this.#session.secured();
      this.#take(new Uint8Array(0));
    });
  }

  #onEvent: (event: NbdClientEvent) => void = () => undefined;

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#onEvent = (event) => {
      if (event.kind === 'done') handlers.onDone(event);
    };
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#session.feed(chunk);
      for (let event = this.#session.next(); event !== undefined; event = this.#session.next()) {
        if (event.kind === 'send') this.#socket.write(event.bytes);
        else if (event.kind === 'startTls' && this.tls) return this.#secure(this.tls);
        else this.#onEvent(event);
        if (this.#isGone) return;
      }
    } catch (error) {
      // Bytes that no server may send: what else it said or says is not to be trusted either.
      this.#lost(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #lost(cause: Error): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#socket.destroy();
    this.#handlers.onLost(cause);
  }

  /** More would wait in memory: the socket has not taken what it was given. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Sends a request. Returns the cookie that its end will carry. */
  request(request: NbdClientRequest): number {
    const { cookie, header } = this.#session.request(request);
    if (request.kind !== 'write') {
      this.#socket.write(header);
      return cookie;
    }
    this.#socket.cork();
    this.#socket.write(header);
    this.#socket.write(request.source);
    process.nextTick(() => this.#socket.uncork());
    return cookie;
  }

  /** Ends without a word: nothing more is heard of it. */
  destroy(): void {
    this.#isGone = true;
    this.#socket.destroy();
  }

  /** Says goodbye; the server has a second to close. */
  async disconnect(): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.end(disconnectRequest());
    const timer = setTimeout(() => this.#socket.destroy(), 1000);
    await closed;
    clearTimeout(timer);
  }
}
