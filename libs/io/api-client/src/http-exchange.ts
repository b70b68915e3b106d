import { request, type Agent } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
// The part without the libraries that sign: a command line should start at once.
import { tlsProblem, watchPeer } from '@tidemark/trust/tls-problem';
import { ApiError } from './api-error.js';

export interface HttpRequest {
  readonly url: URL;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text; absent: no body. */
  readonly body?: string;
  readonly timeoutMs: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

const ANSWER_BYTES_MAX = 64 * 2 ** 20;

/** One request and its whole answer. Throws ApiError (API_UNREACHABLE, API_UNTRUSTED, API_TIMEOUT, API_PROTOCOL). */
export async function exchange(agent: Agent, sent: HttpRequest): Promise<HttpAnswer> {
  try {
    return await attempt(agent, sent);
  } catch (error) {
    // A kept connection may be closed by the server (restart, idle) in the moment of its reuse; a GET can be sent again.
    if (sent.method === 'GET' && error instanceof ReusedSocketError) return await attempt(agent, sent).catch((again: unknown) => Promise.reject(apiError(again, sent)));
    throw apiError(error, sent);
  }
}

class ReusedSocketError extends Error {
  override readonly name = 'ReusedSocketError';
}

function attempt(agent: Agent, { url, method, headers, body, timeoutMs }: HttpRequest): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, method, headers });
    const timer = setTimeout(() => outgoing.destroy(new ApiError('API_TIMEOUT', `${url.origin} did not answer within ${timeoutMs / 1000} s`)), timeoutMs);
    const fail = (error: unknown): void => {
      clearTimeout(timer);
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what Node throws, unchanged; apiError() reads it
      reject(error);
    };
    let seen: ReturnType<typeof watchPeer> = () => undefined;
    outgoing.once('socket', (socket) => {
      if (!outgoing.reusedSocket) seen = watchPeer(socket as TLSSocket);
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const problem = tlsProblem(error, { nowMs: Date.now(), peer: seen() });
      if (problem !== undefined) return fail(new ApiError('API_UNTRUSTED', `${url.origin} is not believed: ${problem}`, { cause: error }));
      fail(outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE') ? new ReusedSocketError(error.message, { cause: error }) : error);
    });
    outgoing.on('response', (incoming) => {
      readWhole(incoming).then((text) => {
        clearTimeout(timer);
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
      }, (error: unknown) => {
        outgoing.destroy();
        fail(error);
      });
    });
    outgoing.end(body);
  });
}

async function readWhole(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new ApiError('API_PROTOCOL', `the answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function apiError(error: unknown, { url }: HttpRequest): ApiError {
  const cause = error instanceof ReusedSocketError ? error.cause : error;
  if (cause instanceof ApiError) return cause;
  const { code = '', message = String(cause) } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
  return new ApiError('API_UNREACHABLE', `${url.origin} cannot be reached (${message === '' ? code : message})`, { cause });
}
