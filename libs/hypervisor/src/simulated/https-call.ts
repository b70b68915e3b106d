import { type Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { tlsProblem, watchPeer } from '@tidemark/trust';

/** With what a hypervisor manager is believed, and believes us. */
export interface HypervisorAccess {
  /** CA certificates, PEM; asked for each connection, because a CA may rotate. */
  readonly caPem: () => readonly string[];
  /** Sent as a bearer token. */
  readonly credential: string;
}

interface Call {
  readonly method: string;
  readonly body?: unknown;
  readonly signal: AbortSignal;
  /** Keeps connections for the next calls: those that are made with the CA of now, for its name is among what an agent goes by. */
  readonly agent: Agent;
}

export interface Answer {
  readonly isOk: boolean;
  readonly status: number;
  readonly body: unknown;
}

/**
 * One JSON call. Rejects when there is no answer that is JSON; what was wrong with the certificate is said in words. On a kept connection that the manager has closed
 * meanwhile it is made once more: every call may be repeated.
 */
export async function httpsCall(url: string, call: Call, access: HypervisorAccess): Promise<Answer> {
  for (;;) {
    const answer = await callOnce(url, call, access);
    if (answer !== 'closed meanwhile') return answer;
  }
}

function callOnce(url: string, { method, body, signal, agent }: Call, { caPem, credential }: HypervisorAccess): Promise<Answer | 'closed meanwhile'> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${credential}`, ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }) };
    const call = request(url, { method, headers, signal, ca: [...caPem()], minVersion: 'TLSv1.3', agent }, (response) => {
      const { statusCode: status = 0 } = response;
      text(response).then((answer) => resolve({ isOk: status >= 200 && status < 300, status, body: JSON.parse(answer) })).catch(reject);
    });
    let seen: ReturnType<typeof watchPeer> = () => undefined;
    call.once('socket', (socket) => {
      if (!call.reusedSocket) seen = watchPeer(socket as TLSSocket);
    });
    call.on('error', (error: NodeJS.ErrnoException) => {
      if (call.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) return resolve('closed meanwhile');
      const problem = tlsProblem(error, { nowMs: Date.now(), peer: seen() });
      reject(problem === undefined ? error : new Error(problem, { cause: error }));
    });
    call.end(payload);
  });
}
