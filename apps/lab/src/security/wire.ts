import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

export interface Place {
  readonly place: string;
  readonly port: number;
}

export interface Heard {
  /** Everything that came. */
  readonly bytes: Buffer;
  /** Handshake done, as this end sees it. */
  readonly isSecure: boolean;
  /** The other end hung up, or never took the connection. */
  readonly isEnded: boolean;
  readonly reason: string;
}

export interface Talk {
  readonly send?: Uint8Array | string;
  /** How long the other end has for an answer. */
  readonly waitMs?: number;
  /** Keys and certificates of whoever talks; absent: no TLS. Nothing of the server is checked: attackers do not care. */
  readonly tls?: ConnectionOptions;
}

/** Connects, says one thing, and listens until the other end hangs up or the time is over. */
export function talk({ place, port }: Place, { send, waitMs = 700, tls }: Talk): Promise<Heard> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let isSecure = false;
    let reason = '';
    const socket: Socket = tls ? connectTls({ host: place, port, rejectUnauthorized: false, ...tls }) : connectTcp({ host: place, port });
    const finish = (isEnded: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ bytes: Buffer.concat(parts), isSecure, isEnded, reason });
    };
    let timer = setTimeout(() => finish(false), 5000);
    const speak = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => finish(false), waitMs);
      if (send !== undefined) socket.write(send);
    };
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      isSecure = tls !== undefined;
      speak();
    });
    socket.on('data', (part: Buffer) => void parts.push(part));
    socket.on('error', (error: NodeJS.ErrnoException) => (reason ||= error.code ?? error.message));
    socket.on('close', () => finish(true));
  });
}
