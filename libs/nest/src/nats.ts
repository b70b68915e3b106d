import { connect, type NatsConnection, type Subscription } from '@nats-io/transport-node';
// nats-core keeps its transport in a module-wide variable: TCP and WebSocket connections in one process need two copies of it.
import { wsconnect } from 'nats-websocket';
import { plainToInstance } from 'class-transformer';
import { validate, type ValidationError } from 'class-validator';
import { gunzip, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { Reply } from '@tidemark/contracts';
import { TidemarkError } from '@tidemark/base';

export type ControlErrorCode = 'CONTROL_TIMEOUT' | 'CONTROL_UNREACHABLE' | 'CONTROL_INVALID' | 'CONTROL_REFUSED';

/** A control request that was not answered, not understood or refused; `remoteCode` is the responder's own code. */
export class ControlError extends TidemarkError<ControlErrorCode> {
  constructor(
    code: ControlErrorCode,
    message: string,
    readonly remoteCode: string | null = null,
    options?: { cause?: unknown },
  ) {
    super(code, message, options);
  }

  get isRetryable(): boolean {
    return this.code === 'CONTROL_TIMEOUT' || this.code === 'CONTROL_UNREACHABLE';
  }
}

/** Thrown by a handler: travels to the caller as code and message. Anything else becomes CONTROL_INTERNAL. */
export class ControlRefusal extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const compress = promisify(gzip);
const decompress = promisify(gunzip);
/**
 * Longer requests and answers travel gzipped: a day of checkpoints is 4 to 5 MB of JSON, above what a broker takes in one
 * message, and some 200 KB packed. JSON never begins with gzip's first byte (RFC 1952: 1f 8b).
 */
const PLAIN_BYTES_MAX = 64 * 1024;
/** What a packed message may become: more is a broken or hostile sender. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

async function encodeMessage(message: unknown): Promise<Uint8Array> {
  const plain = Buffer.from(JSON.stringify(message));
  return plain.byteLength <= PLAIN_BYTES_MAX ? plain : await compress(plain, { level: 1 });
}

/** Throws SyntaxError for what is not JSON, and zlib's error for what does not unpack within its limit. */
async function decodeMessage(bytes: Uint8Array): Promise<unknown> {
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const plain = isPacked ? await decompress(bytes, { maxOutputLength: MESSAGE_BYTES_MAX }) : bytes;
  return JSON.parse(new TextDecoder().decode(plain));
}

type Constructor<T> = new () => T;

/**
 * The one place where NATS connections are made (credentials and TLS come in here). Connects in the background and for ever:
 * a component starts, and goes on, without its broker. `ws://` addresses are a peer site's listener on 9081.
 */
export class ControlBus {
  #connection: NatsConnection | undefined;
  readonly #closed = new AbortController();
  readonly #whenConnected: ((connection: NatsConnection) => void)[] = [];

  constructor(
    readonly url: string,
    readonly name: string,
  ) {
    void this.#connectForEver();
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && !this.#connection.isClosed() && this.#isUp;
  }

  #isUp = false;

  async #connectForEver(): Promise<void> {
    const options = {
      servers: this.url, name: this.name, maxReconnectAttempts: -1, reconnectTimeWait: 500, reconnectJitter: 100,
      timeout: 2000, pingInterval: 2000, maxPingOut: 2,
    };
    while (!this.#closed.signal.aborted) {
      try {
        const connection = this.url.startsWith('ws') ? await wsconnect(options) : await connect(options);
        if (this.#isClosed()) return void (await connection.close());
        this.#connection = connection;
        this.#isUp = true;
        for (const subscribe of this.#whenConnected) subscribe(connection);
        for await (const status of connection.status()) {
          if (status.type === 'disconnect' || status.type === 'staleConnection') this.#isUp = false;
          if (status.type === 'reconnect') this.#isUp = true;
        }
      } catch {
        // Not reachable yet, or closed for good: wait and try again; isConnected tells the rest of the app.
      }
      this.#isUp = false;
      this.#connection = undefined;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** A call, so that the compiler does not take the loop's condition for still true after an await. */
  #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Answers requests on `subject`; the message is validated against `type` before the handler sees it. */
  respond<T extends object, R>(subject: string, type: Constructor<T> | null, handle: (message: T) => Promise<R> | R): void {
    this.#onConnection((connection) => {
      const subscription = connection.subscribe(subject);
      void this.#serve(subscription, type, handle);
    });
  }

  async #serve<T extends object, R>(subscription: Subscription, type: Constructor<T> | null, handle: (message: T) => Promise<R> | R) {
    for await (const message of subscription) {
      void (async () => {
        const reply = await answerMessage(type, message.data, handle);
        if (message.reply) message.respond(await encodeMessage(reply));
      })();
    }
  }

  /** Each message once, no answer. Invalid ones are dropped. */
  listen<T>(subject: string, handle: (message: T, subject: string) => void): void {
    this.#onConnection((connection) => {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error) return;
          try {
            handle(message.json<T>(), message.subject);
          } catch {
            // A message that is not JSON, or a handler that refused it: events carry no answer.
          }
        },
      });
    });
  }

  publish(subject: string, message: unknown): void {
    if (this.isConnected) this.#connection?.publish(subject, JSON.stringify(message));
  }

  /** One request, one answer, within the deadline. Errors: {@link ControlError}. */
  async request<R>(subject: string, message: unknown, { timeoutMs = 5000 }: { timeoutMs?: number } = {}): Promise<R> {
    const connection = this.#connection;
    if (!connection || !this.isConnected) throw new ControlError('CONTROL_UNREACHABLE', `${this.name}: no connection to ${this.url}`);
    let reply: Reply<R>;
    try {
      const answered = await connection.request(subject, await encodeMessage(message), { timeout: timeoutMs });
      reply = (await decodeMessage(answered.data)) as Reply<R>;
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      const isNobody = /no responders|no response/i.test(text);
      throw new ControlError(isNobody ? 'CONTROL_UNREACHABLE' : 'CONTROL_TIMEOUT', `${subject}: ${isNobody ? 'nobody answers' : text}`, null, { cause });
    }
    if (!reply.isOk) throw new ControlError('CONTROL_REFUSED', reply.message, reply.code);
    return reply.result;
  }

  #onConnection(subscribe: (connection: NatsConnection) => void): void {
    this.#whenConnected.push(subscribe);
    if (this.#connection) subscribe(this.#connection);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#connection?.close();
  }
}

/** What a responder says to the bytes of a request, whatever they are: never rejects. The handler sees only a message of its type. */
export async function answerMessage<T extends object, R>(
  type: Constructor<T> | null,
  bytes: Uint8Array,
  handle: (message: T) => Promise<R> | R,
): Promise<Reply<R>> {
  try {
    const plain: unknown = bytes.length === 0 ? {} : await decodeMessage(bytes);
    if (typeof plain !== 'object' || plain === null) return { isOk: false, code: 'CONTROL_INVALID', message: 'an object is expected' };
    const message: T = type ? plainToInstance<T, object>(type, plain) : (plain as T);
    if (type) {
      const errors = await validate(message, { whitelist: true });
      if (errors.length > 0) return { isOk: false, code: 'CONTROL_INVALID', message: describeErrors(errors) };
    }
    return { isOk: true, result: await handle(message) };
  } catch (error) {
    if (error instanceof ControlRefusal) return { isOk: false, code: error.code, message: error.message };
    if (error instanceof TidemarkError) return { isOk: false, code: String(error.code), message: error.message };
    return { isOk: false, code: 'CONTROL_INTERNAL', message: error instanceof Error ? error.message : String(error) };
  }
}

/** `volumes.0.sizeBytes must not be less than 1; …` */
export function describeErrors(errors: readonly ValidationError[], prefix = ''): string {
  return errors
    .map((error) => {
      const path = prefix === '' ? error.property : `${prefix}.${error.property}`;
      const own = Object.values(error.constraints ?? {}).map((text) => (prefix === '' ? text : `${prefix}.${text}`));
      const nested = error.children?.length ? [describeErrors(error.children, path)] : [];
      return [...own, ...nested].join('; ');
    })
    .join('; ');
}
