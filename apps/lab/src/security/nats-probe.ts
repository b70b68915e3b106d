import { fromSeed } from '@nats-io/nkeys';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import type { Place } from './wire.js';

/** A NATS user as its credentials file names it. */
export interface NatsUser {
  readonly jwt: string;
  readonly seed: string;
}

/** Reads the two parts of a .creds file. */
export function readUser(credentials: string): NatsUser {
  const [jwt, seed] = [...credentials.matchAll(/-----\n([^\n-][^\n]*)\n-/g)].map(([, body]) => body ?? '');
  if (jwt === undefined || seed === undefined) throw new Error('these are no NATS credentials');
  return { jwt, seed };
}

/** A message has come to its last byte. */
function isWhole(text: string): boolean {
  const message = /(?:^|\n)H?MSG [^\r]* (\d+)\r\n([^]*)/.exec(text);
  return message !== null && (message[2] ?? '').length >= Number(message[1]);
}

interface Pipe {
  write(text: string): void;
  end(): void;
}

const OPEN_MS = 5000;

/**
 * A client of the bare NATS protocol: what a server says to a subscription or a message is seen as it is, without a library that hides or repeats it.
 * TLS for 4222, a websocket over TLS for 9081; whom the server shows is not looked at.
 */
export class NatsProbe {
  #text = '';
  #wake: () => void = () => undefined;
  #isEnded = false;
  #nextId = 1;

  private constructor(private pipe: Pipe) {}

  /** Resolves when the server has taken the user; rejects with what it said instead. */
  static async open(place: Place, user: NatsUser | undefined, { isWebsocket = false }: { readonly isWebsocket?: boolean } = {}): Promise<NatsProbe> {
    const probe = new NatsProbe({ write: () => undefined, end: () => undefined });
    if (isWebsocket) await probe.#openWebsocket(place);
    else await probe.#openTls(place);
    const { nonce = '' } = JSON.parse(/INFO (\{.*\})/.exec(probe.#text)?.[1] ?? '{}') as { nonce?: string };
    const proof = user ? { jwt: user.jwt, sig: Buffer.from(fromSeed(Buffer.from(user.seed)).sign(Buffer.from(nonce))).toString('base64url') } : {};
    probe.#text = '';
    probe.pipe.write(`CONNECT ${JSON.stringify({ verbose: false, pedantic: true, lang: 'probe', version: '1', protocol: 1, headers: true, no_responders: true, ...proof })}\r\nPING\r\n`);
    const answer = await probe.#until((text) => text.includes('PONG\r\n') || text.includes('-ERR'));
    if (!answer.includes('PONG\r\n')) {
      probe.close();
      throw new Error(/-ERR '(.*)'/.exec(answer)?.[1] ?? 'the server hung up');
    }
    return probe;
  }

  async #openTls({ place, port }: Place): Promise<void> {
    const plain = connectTcp({ host: place, port });
    this.#listen(plain);
    await this.#until((text) => text.includes('\r\n'));
    const isSecured = /"tls_required":\s*true/.test(this.#text);
    if (!isSecured) {
      this.pipe = { write: (text) => void plain.write(text), end: () => plain.destroy() };
      return;
    }
    plain.removeAllListeners();
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    this.#listen(secure);
    this.pipe = { write: (text) => void secure.write(text), end: () => plain.destroy() };
  }

  async #openWebsocket({ place, port }: Place): Promise<void> {
    const open = async (scheme: string): Promise<WebSocket> => await new Promise((resolve, reject) => {
      const socket = new WebSocket(`${scheme}://${place}:${port}`, { rejectUnauthorized: false, perMessageDeflate: false, handshakeTimeout: OPEN_MS });
      socket.on('message', (part: Buffer) => this.#take(part.toString('latin1')));
      socket.on('close', () => this.#ended());
      socket.once('open', () => resolve(socket)).once('error', reject);
    });
    // Also a server without TLS is talked to: then the rest of the lane says what can be had there.
    const socket = await open('wss').catch(() => open('ws'));
    this.#isEnded = false;
    this.pipe = { write: (text) => void socket.send(Buffer.from(text, 'latin1')), end: () => socket.terminate() };
    await this.#until((text) => text.includes('\r\n'));
  }

  #listen(socket: Socket): void {
    socket.on('data', (part: Buffer) => this.#take(part.toString('latin1')));
    socket.on('error', () => this.#ended());
    socket.on('close', () => this.#ended());
  }

  #take(text: string): void {
    this.#text += text;
    this.#wake();
  }

  #ended(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** What has come, when it is enough, the server has hung up, or time is over. */
  async #until(isEnough: (text: string) => boolean, waitMs = OPEN_MS): Promise<string> {
    const untilMs = performance.now() + waitMs;
    while (!isEnough(this.#text) && !this.#isEnded && performance.now() < untilMs) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, untilMs - performance.now());
      });
    }
    return this.#text;
  }

  /** Sends it and answers what the server says about it before the next PONG: '' is nothing, so it was taken. */
  async #say(lines: string): Promise<string> {
    this.#text = '';
    this.pipe.write(`${lines}PING\r\n`);
    const text = await this.#until((heard) => heard.includes('PONG\r\n'));
    if (!text.includes('PONG\r\n') && !text.includes('-ERR')) return 'the server hung up';
    return /-ERR '(.*)'/.exec(text)?.[1] ?? '';
  }

  /** '' when the server takes the subscription, else its complaint. */
  async subscribe(subject: string): Promise<string> {
    this.#nextId += 1;
    return await this.#say(`SUB ${subject} ${this.#nextId}\r\n`);
  }

  /** '' when the server takes the message, else its complaint. */
  async publish(subject: string, body: unknown = {}): Promise<string> {
    const text = JSON.stringify(body);
    return await this.#say(`PUB ${subject} ${Buffer.byteLength(text)}\r\n${text}\r\n`);
  }

  /** The answer to a request, or the server's complaint; answers come in below `inbox`. */
  async request(subject: string, body: unknown, inbox: string, waitMs = 4000): Promise<{ readonly complaint: string; readonly answer: string }> {
    const reply = `${inbox}.r${this.#nextId}`;
    const complaint = await this.subscribe(reply);
    if (complaint !== '') return { complaint, answer: '' };
    const text = JSON.stringify(body);
    this.#text = '';
    this.pipe.write(`PUB ${subject} ${reply} ${Buffer.byteLength(text)}\r\n${text}\r\nPING\r\n`);
    const heard = await this.#until((seen) => seen.includes('-ERR') || isWhole(seen), waitMs);
    const error = /-ERR '(.*)'/.exec(heard)?.[1];
    if (error !== undefined) return { complaint: error, answer: '' };
    if (heard.includes('NATS/1.0 503')) return { complaint: 'nobody listens there', answer: '' };
    // `MSG <subject> <sid> <bytes>`: the PONG may stand before it or behind it. The text is latin1, so characters are bytes.
    const message = /(?:^|\n)MSG \S+ \S+ (\d+)\r\n([^]*)/.exec(heard);
    if (!message) return { complaint: 'nobody answers', answer: '' };
    return { complaint: '', answer: (message[2] ?? '').slice(0, Number(message[1])) };
  }

  /** True: the server has ended the connection. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  close(): void {
    this.pipe.end();
  }
}
