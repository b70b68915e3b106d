import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { ProtocolError } from '@tidemark/base';
import { type NbdExports, NbdServerSession } from '@tidemark/nbd';

/** TLS that a client must ask for, with a certificate of its own, before it learns anything. */
export interface NbdTls {
  /** As they are now: asked for each connection. Client certificates are demanded in any case. */
  options(): TlsOptions;
  /** Throws when whoever is at the other end, by its certificate, may read nothing here. */
  admit(socket: TLSSocket): void;
}

export interface TlsGateOptions {
  readonly exports: NbdExports;
  readonly tls: NbdTls;
  /** For everything up to the certificate. */
  readonly handshakeMs: number;
  readonly onSecured: (socket: TLSSocket, clientFlags: number) => void;
  readonly onProblem: (error: unknown) => void;
}

/**
 * The clear-text beginning of one connection: greeting, client flags, STARTTLS, then the TLS handshake. Every other option gets the answer that TLS is required, and
 * no export is named before the certificate was looked at.
 */
export class TlsGate {
  readonly #session: NbdServerSession;
  readonly #timer: NodeJS.Timeout;
  readonly #onData = (chunk: Buffer): void => this.#received(chunk);

  /** Takes over `socket`, which must not have read anything yet. */
  constructor(
    private readonly socket: Socket,
    private readonly options: TlsGateOptions,
  ) {
    this.#session = new NbdServerSession({ exports: options.exports, tls: 'required' });
    this.#timer = setTimeout(() => socket.destroy(), options.handshakeMs);
    socket.once('close', () => clearTimeout(this.#timer));
    socket.on('error', () => socket.destroy());
    socket.on('data', this.#onData);
    this.#pump();
  }

  #received(chunk: Buffer): void {
    this.#session.feed(chunk);
    this.#pump();
  }

  #pump(): void {
    try {
      for (let event = this.#session.next(); event !== undefined; event = this.#session.next()) {
        if (event.kind === 'send') this.socket.write(event.bytes);
        else if (event.kind === 'startTls') return this.#startTls(event.clientFlags);
        else if (event.kind === 'disconnect') return void this.socket.end();
        else throw new ProtocolError('PROTOCOL_ORDER', `${event.kind} before TLS`);
      }
    } catch (error) {
      this.options.onProblem(error);
      this.socket.destroy();
    }
  }

  #startTls(clientFlags: number): void {
    const { tls, onSecured, onProblem } = this.options;
    this.socket.off('data', this.#onData);
    this.socket.pause();
    const server = createServer({ ...tls.options(), requestCert: true, rejectUnauthorized: false, handshakeTimeout: this.options.handshakeMs });
    server.once('tlsClientError', (error, socket) => {
      socket.destroy();
      onProblem(error);
    });
    server.once('secureConnection', (socket) => {
      clearTimeout(this.#timer);
      try {
        tls.admit(socket);
      } catch (error) {
        socket.destroy();
        return onProblem(error);
      }
      onSecured(socket, clientFlags);
    });
    server.emit('connection', this.socket);
  }
}
