import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { Logger } from '@nestjs/common';
import { type Answer, inboxNameOf, type Reply, speakerOn } from '@tidemark/contracts';
import { answerMessage, type Constructor } from './answer.js';
import { brokerProblem } from './broker-problem.js';
import type { BusAccess } from './bus-access.js';
import { assertSecure, connectBroker } from './connect-broker.js';
import { ControlError } from './control-error.js';
import { encodeMessage } from './message-codec.js';
import { readAnswer } from './read-answer.js';

const RETRY_MS = 500;
/** A user that is refused will be refused again: the server is not knocked at twice a second for that. */
const REFUSED_RETRY_MS = 3000;
/** Requests of one kind that are worked on at a time; more than that is answered CONTROL_BUSY. */
const ANSWERS_MAX = 64;

export interface ControlBusOptions {
  /** `tls://host:port`, or `wss://host:port` for the listener of a paired site. */
  readonly url: string;
  readonly name: string;
  readonly access: BusAccess;
}

/**
 * The one place where NATS connections are made. Connects in the background and for ever: a component starts, and goes on, without its broker. A
 * connection that ends, or whose credentials were renewed, is replaced by a new one with all that was subscribed.
 */
export class ControlBus {
  readonly url: string;
  readonly name: string;
  readonly #access: BusAccess;
  readonly #log: Logger;
  readonly #closed = new AbortController();
  readonly #whenConnected: ((connection: NatsConnection) => void)[] = [];
  #connection: NatsConnection | undefined;
  #problem: string | undefined;
  #wake: () => void = () => undefined;

  constructor({ url, name, access }: ControlBusOptions) {
    assertSecure(url);
    this.url = url;
    this.name = name;
    this.#access = access;
    this.#log = new Logger(`ControlBus ${name}`);
    access.onChange?.(() => this.#reconnect());
    void this.#connectForEver();
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && !this.#connection.isClosed();
  }

  /** Why there is no connection, for people; undefined while there is one. */
  get problem(): string | undefined {
    return this.isConnected ? undefined : (this.#problem ?? 'connecting');
  }

  /** Told at each new connection, and at once when there is one. */
  onConnected(listener: () => void): void {
    this.#onConnection(() => listener());
  }

  #reconnect(): void {
    this.#wake();
    void this.#connection?.close().catch(() => undefined);
  }

  async #connectForEver(): Promise<void> {
    while (!this.#isClosed()) {
      const credentials = this.#shown();
      try {
        const connection = await connectBroker(this.url, this.name, this.#access);
        if (this.#isClosed()) return void (await connection.close());
        this.#begin(connection);
        const reason = await connection.closed();
        this.#connection = undefined;
        if (reason) this.#fail(reason, credentials);
        // Closed by ourselves: for renewed credentials, or for good.
        else continue;
      } catch (error) {
        this.#fail(error, credentials);
      }
      await this.#pause(this.#problem?.includes('refuses this user') === true ? REFUSED_RETRY_MS : RETRY_MS);
    }
  }

  #shown(): string {
    try {
      return this.#access.credentials();
    } catch {
      return '';
    }
  }

  #begin(connection: NatsConnection): void {
    this.#connection = connection;
    if (this.#problem !== undefined) this.#log.log('connected');
    this.#problem = undefined;
    void this.#watch(connection);
    for (const subscribe of this.#whenConnected) subscribe(connection);
  }

  /** Errors that do not end the connection: what the broker does not let this user do. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'error') this.#log.warn(`the broker refused: ${status.error.message}`);
    }
  }

  #fail(error: unknown, credentials: string): void {
    if (this.#isClosed()) return;
    const problem = brokerProblem(error, credentials);
    if (problem !== this.#problem) this.#log.warn(`no connection to ${this.url}: ${problem}`);
    this.#problem = problem;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** A call, so that the compiler does not take the loop's condition for still true after an await. */
  #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Answers requests on `subject`; the message is validated against `type` before the handler sees it, the subject that it came on says who asks. */
  respond<T extends object, R>(subject: string, type: Constructor<T> | null, handle: (message: T, subject: string) => Promise<R> | R): void {
    this.#onConnection((connection) => {
      const subscription = connection.subscribe(subject);
      void this.#serve(subscription, type, handle);
    });
  }

  async #serve<T extends object, R>(subscription: Subscription, type: Constructor<T> | null, handle: (message: T, subject: string) => Promise<R> | R) {
    let running = 0;
    for await (const message of subscription) {
      if (!this.#isReplyOfAsker(message)) continue;
      if (running >= ANSWERS_MAX) {
        void this.#answer(message, { isOk: false, code: 'CONTROL_BUSY', message: `${ANSWERS_MAX} requests of this kind are under way` });
        continue;
      }
      running += 1;
      void answerMessage(type, message.data, (asked: T) => handle(asked, message.subject))
        .then((reply) => this.#answer(message, reply))
        .finally(() => (running -= 1));
    }
  }

  /**
   * This user may publish more than the asker may. An answer therefore goes to the asker's own inbox and nowhere else: a peer that names a VRA's
   * command as its inbox would otherwise have us send there for it.
   */
  #isReplyOfAsker({ subject, reply }: Msg): boolean {
    if (reply === undefined || reply === '') return true;
    const speaker = speakerOn(subject);
    if (!speaker || reply.startsWith(`_INBOX.${inboxNameOf(speaker)}.`)) return true;
    this.#log.warn(`dropped a request on ${subject}: it wants its answer at ${reply.slice(0, 200)}, which is not the asker's inbox`);
    return false;
  }

  async #answer(message: Msg, reply: Reply<unknown>): Promise<void> {
    if (!message.reply) return;
    try {
      message.respond(await encodeMessage(reply));
    } catch {
      // The connection that it came on has gone: the asker hears nothing, and asks again.
    }
  }

  /**
   * Each message once, no answer. Invalid ones are dropped. `isWelcome` is asked before a message is read: who sends too much is not worth the reading.
   */
  listen<T>(subject: string, handle: (message: T, subject: string) => void, isWelcome: (subject: string, sizeBytes: number) => boolean = () => true): void {
    this.#onConnection((connection) => {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error || !isWelcome(message.subject, message.data.length)) return;
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

  /** One request, one answer of the kind that is said, within the deadline. Errors: {@link ControlError}; CONTROL_INVALID for an answer of another kind. */
  async request<R extends object>(subject: string, message: unknown, answer: Answer<R>, { timeoutMs = 5000 }: { timeoutMs?: number } = {}): Promise<R> {
    return await readAnswer(await this.#ask(subject, await encodeMessage(message), timeoutMs), answer, subject);
  }

  /** As {@link request}, for a responder that is not one of ours (the broker itself): bytes there, bytes back. */
  async requestBytes(subject: string, bytes: Uint8Array, { timeoutMs = 5000 }: { timeoutMs?: number } = {}): Promise<Uint8Array> {
    return await this.#ask(subject, bytes, timeoutMs);
  }

  async #ask(subject: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const connection = this.#connection;
    if (!connection || !this.isConnected) throw new ControlError('CONTROL_UNREACHABLE', `${this.name}: no connection to ${this.url}: ${this.problem ?? ''}`);
    try {
      return (await connection.request(subject, bytes, { timeout: timeoutMs })).data;
    } catch (cause) {
      throw this.#asControlError(subject, cause);
    }
  }

  #asControlError(subject: string, cause: unknown): ControlError {
    const text = cause instanceof Error ? cause.message : String(cause);
    if (/permissions violation/i.test(text)) return new ControlError('CONTROL_FORBIDDEN', `${this.name} may not ask ${subject}`, null, { cause });
    if (/no responders|no response/i.test(text)) return new ControlError('CONTROL_UNREACHABLE', `${subject}: nobody answers`, null, { cause });
    const code = this.isConnected && /timeout/i.test(text) ? 'CONTROL_TIMEOUT' : 'CONTROL_UNREACHABLE';
    return new ControlError(code, `${subject}: ${text}`, null, { cause });
  }

  #onConnection(subscribe: (connection: NatsConnection) => void): void {
    this.#whenConnected.push(subscribe);
    if (this.#connection) subscribe(this.#connection);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#wake();
    await this.#connection?.close();
  }
}
