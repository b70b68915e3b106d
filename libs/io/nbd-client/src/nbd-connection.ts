import { type NbdAddress } from '@tidemark/base';
import { connect, type Socket } from 'node:net';
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

const NOT_YET: ConnectionHandlers = { onDone: () => undefined, onLost: () => undefined, onDrain: () => undefined };

export const describeAddress = (address: NbdAddress): string =>
  address.kind === 'unix' ? `nbd+unix:///${address.exportName}?socket=${address.socketPath}` : `nbd://${address.host}:${String(address.port)}/${address.exportName}`;

/** One connection to one export, negotiated. */
export class NbdConnection {
  readonly #session: NbdClientSession;
  #handlers = NOT_YET;
  #isGone = false;

  private constructor(
    private readonly socket: Socket,
    exportName: string,
  ) {
    this.#session = new NbdClientSession(exportName);
  }

  /**
   * Connects and negotiates. Throws {@link VolumeError}: `VOLUME_NOT_FOUND` when the server has no such export, else `VOLUME_IO`, with
   * the address in its message.
   */
  static async open(address: NbdAddress, limits: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<{ readonly connection: NbdConnection; readonly facts: NbdExportFacts }> {
    const socket = address.kind === 'unix' ? connect({ path: address.socketPath }) : connect({ host: address.host, port: address.port, noDelay: true, keepAlive: true });
    const connection = new NbdConnection(socket, address.exportName);
    const stop = (): void => void socket.destroy(new Error('given up'));
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${String(limits.timeoutMs)} ms`)), limits.timeoutMs);
    limits.signal.addEventListener('abort', stop, { once: true });
    try {
      return { connection, facts: await connection.#negotiate() };
    } catch (cause) {
      socket.destroy();
      if (cause instanceof VolumeError) throw new VolumeError(cause.code, `${describeAddress(address)}: ${cause.message}`, { cause });
      throw new VolumeError('VOLUME_IO', `${describeAddress(address)}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
      limits.signal.removeEventListener('abort', stop);
    }
  }

  #negotiate(): Promise<NbdExportFacts> {
    return new Promise((resolve, reject) => {
      this.#onEvent = (event) => {
        if (event.kind === 'ready') resolve(event.facts);
        else if (event.kind === 'refused') reject(new VolumeError(event.isMissing ? 'VOLUME_NOT_FOUND' : 'VOLUME_IO', event.message));
      };
      this.#handlers = { ...NOT_YET, onLost: reject };
      this.socket.on('data', (chunk: Buffer) => this.#take(chunk));
      this.socket.on('drain', () => this.#handlers.onDrain());
      this.socket.on('error', (error) => this.#lost(error));
      this.socket.on('close', () => this.#lost(new Error('the server closed the connection')));
    });
  }

  #onEvent: (event: NbdClientEvent) => void = () => undefined;

  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
    this.#onEvent = (event) => {
      if (event.kind === 'done') handlers.onDone(event);
    };
  }

  #take(chunk: Buffer): void {
    try {
      this.#session.feed(chunk);
      for (let event = this.#session.next(); event !== undefined; event = this.#session.next()) {
        if (event.kind === 'send') this.socket.write(event.bytes);
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
    this.socket.destroy();
    this.#handlers.onLost(cause);
  }

  /** More would wait in memory: the socket has not taken what it was given. */
  get isFull(): boolean {
    return this.socket.writableNeedDrain;
  }

  /** Sends a request. Returns the cookie that its end will carry. */
  request(request: NbdClientRequest): number {
    const { cookie, header } = this.#session.request(request);
    if (request.kind !== 'write') {
      this.socket.write(header);
      return cookie;
    }
    this.socket.cork();
    this.socket.write(header);
    this.socket.write(request.source);
    process.nextTick(() => this.socket.uncork());
    return cookie;
  }

  /** Ends without a word: nothing more is heard of it. */
  destroy(): void {
    this.#isGone = true;
    this.socket.destroy();
  }

  /** Says goodbye; the server has a second to close. */
  async disconnect(): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    const closed = new Promise<void>((resolve) => this.socket.once('close', () => resolve()));
    this.socket.end(disconnectRequest());
    const timer = setTimeout(() => this.socket.destroy(), 1000);
    await closed;
    clearTimeout(timer);
  }
}
