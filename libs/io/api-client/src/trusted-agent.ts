import { createHash } from 'node:crypto';
import { Agent } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { ApiError } from './api-error.js';

/** How the server proves who it is. */
export type Trust =
  | { readonly kind: 'system' }
  /** PEM of a CA, or of the server's own self-signed certificate. */
  | { readonly kind: 'ca'; readonly pem: string }
  /** SHA-256 of the server's certificate, hex, colons allowed; names and dates are then not looked at. */
  | { readonly kind: 'fingerprint'; readonly sha256: string };

const IDLE_SOCKETS_MAX = 4;

export function agentFor(trust: Trust): Agent {
  switch (trust.kind) {
    case 'system': return new Agent({ keepAlive: true, maxFreeSockets: IDLE_SOCKETS_MAX });
    case 'ca': return new Agent({ keepAlive: true, maxFreeSockets: IDLE_SOCKETS_MAX, ca: trust.pem });
    case 'fingerprint': return new PinnedAgent(trust.sha256);
  }
}

/** Hands a socket out only after its certificate was compared: a request, with its password, must not go to anyone else. */
class PinnedAgent extends Agent {
  readonly #sha256: string;

  constructor(sha256: string) {
    super({ keepAlive: true, maxFreeSockets: IDLE_SOCKETS_MAX });
    this.#sha256 = sha256.replaceAll(':', '').toLowerCase();
  }

  override createConnection(...[options, done]: Parameters<Agent['createConnection']>): ReturnType<Agent['createConnection']> {
    const { host, port, servername } = options as { host: string; port: number; servername?: string };
    const socket = connect({ host, port, rejectUnauthorized: false, ...(servername === undefined ? {} : { servername }) });
    const failed = (error: Error): void => done?.(error, socket);
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      socket.off('error', failed);
      const mismatch = this.#mismatch(socket);
      if (mismatch === undefined) return done?.(null, socket);
      socket.destroy();
      done?.(mismatch, socket);
    });
    return undefined;
  }

  #mismatch(socket: TLSSocket): Error | undefined {
    const found = createHash('sha256').update(socket.getPeerCertificate().raw).digest('hex');
    if (found === this.#sha256) return undefined;
    return new ApiError('API_UNTRUSTED', `the server's certificate has the fingerprint ${found}, not ${this.#sha256}`);
  }
}
