import type { Agent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError, codeOfStatus } from './api-error.js';
import { exchange, type HttpAnswer, type HttpRequest } from './http-exchange.js';
import { agentFor, type Trust } from './trusted-agent.js';

export interface ApiClientOptions {
  /** `https://127.0.1.1:9669`, with or without `/v1`. */
  readonly url: string;
  readonly trust: Trust;
  /** For one call, ms. */
  readonly timeoutMs?: number;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** The part of a task that says how far it is; numbers of TaskStatusEnumApi. */
export interface TaskProgress {
  readonly Status: { readonly State: number; readonly Progress: number };
  readonly CompleteReason?: string | null;
  readonly CurrentStep?: string | null;
}

export interface WaitOptions<Task> {
  readonly onProgress?: (task: Task) => void;
  /** Until the task has ended; none when absent. */
  readonly timeoutMs?: number;
  readonly pollMs?: number;
  /** How long the site manager may be away (it restarts, the task goes on) before waiting is given up. */
  readonly silenceMs?: number;
  readonly signal?: AbortSignal;
}

const SESSION_HEADER = 'x-zerto-session';
/** How a client that was not told a user and password is let in. */
export type Entry = { readonly kind: 'session'; readonly session: string } | { readonly kind: 'token'; readonly token: string };

const CALL_TIMEOUT_MS = 60_000;
const POLL_MS = 300;
const SILENCE_MS = 60_000;
const TASK_FAILED = 4;
const TASK_STOPPED = 5;
const TASK_COMPLETED = 6;

/**
 * The REST API `/v1` of one site manager. Answers are typed by the caller (`client.get<VpgApi[]>('/vpgs')`). Logs in again by itself
 * when the session has ended meanwhile. Every failure is an {@link ApiError}.
 */
export class ApiClient {
  readonly #base: string;
  readonly #trust: Trust;
  #agent: Agent;
  readonly #timeoutMs: number;
  #credentials: Credentials | undefined;
  #session: string | undefined;
  #token: string | undefined;

  constructor({ url, trust, timeoutMs = CALL_TIMEOUT_MS }: ApiClientOptions) {
    if (!URL.canParse(url) || new URL(url).protocol !== 'https:') throw new ApiError('API_PROTOCOL', `'${url}' is no https address`);
    this.#base = `${url.replace(/\/+$/, '').replace(/\/v1$/i, '')}/v1`;
    this.#trust = trust;
    this.#agent = agentFor(trust);
    this.#timeoutMs = timeoutMs;
  }

  /** Throws API_UNAUTHORIZED for a wrong user or password. */
  async login(credentials: Credentials): Promise<void> {
    const basic = Buffer.from(`${credentials.user}:${credentials.password}`, 'utf8').toString('base64');
    const answer = await this.#send('POST', '/session/add', { headers: { authorization: `Basic ${basic}` }, body: { AuthenticationMethod: 0 } });
    const session = answer.headers[SESSION_HEADER];
    if (typeof session !== 'string') throw new ApiError('API_PROTOCOL', `the answer to the log-in has no header ${SESSION_HEADER}`);
    this.#session = session;
    this.#credentials = credentials;
  }

  /** The second half of a log-in by the site's identity provider: where the browser came back to. */
  async finishOidc(login: { readonly LoginIdentifier: string; readonly CallbackUrl: string }): Promise<void> {
    const answer = await this.#send('POST', '/session/oidc/finish', { headers: {}, body: login });
    const session = answer.headers[SESSION_HEADER];
    if (typeof session !== 'string') throw new ApiError('API_PROTOCOL', `the answer to the log-in has no header ${SESSION_HEADER}`);
    this.#session = session;
  }

  /** Goes on with a session that was opened before, or with an API token. */
  enter(entry: Entry): void {
    this.#session = entry.kind === 'session' ? entry.session : undefined;
    this.#token = entry.kind === 'token' ? entry.token : undefined;
    this.#credentials = undefined;
  }

  /**
   * Believes these CAs too from now on, besides the one that it was told: the site says its next CA before it shows it. A client that was not told a CA goes on as it was.
   * Not while a call is under way.
   */
  believeToo(caPem: string): void {
    if (this.#trust.kind !== 'ca') return;
    const before = this.#agent;
    this.#agent = agentFor({ kind: 'ca', pem: `${this.#trust.pem.trimEnd()}\n${caPem}` });
    before.destroy();
  }

  /** What opens this session: a secret. */
  get session(): string | undefined {
    return this.#session;
  }

  /** Forgets the session here and leaves it open at the server. */
  leave(): void {
    this.#session = undefined;
    this.#credentials = undefined;
  }

  /** Ends the session at the server. Never throws: a session that cannot be ended runs out by itself. */
  async logout(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#credentials = undefined;
    if (session === undefined) return;
    await this.#send('DELETE', '/session', { headers: { [SESSION_HEADER]: session } }).catch(() => undefined);
  }

  /** Closes kept connections; logs out first if need be. */
  async close(): Promise<void> {
    await this.logout();
    this.#agent.destroy();
  }

  get<Answer>(path: string, query: Query = {}): Promise<Answer> {
    return this.#call<Answer>('GET', withQuery(path, query));
  }

  post<Answer = string>(path: string, body: object = {}): Promise<Answer> {
    return this.#call<Answer>('POST', path, body);
  }

  put<Answer = string>(path: string, body: object): Promise<Answer> {
    return this.#call<Answer>('PUT', path, body);
  }

  delete<Answer = string>(path: string, body?: object): Promise<Answer> {
    return this.#call<Answer>('DELETE', path, body);
  }

  /** Polls until the task has ended. Throws API_TASK_FAILED with its reason, API_TASK_TIMEOUT; a manager that is away for a while is waited for. */
  async waitForTask<Task extends TaskProgress = TaskProgress>(taskId: string, options: WaitOptions<Task> = {}): Promise<Task> {
    const begun = performance.now();
    let heardAt = begun;
    for (;;) {
      options.signal?.throwIfAborted();
      const task = await this.#taskOrSilence<Task>(taskId, heardAt, options.silenceMs ?? SILENCE_MS);
      if (task !== undefined) {
        heardAt = performance.now();
        options.onProgress?.(task);
        if (hasEnded(task)) return task;
      }
      if (options.timeoutMs !== undefined && performance.now() - begun > options.timeoutMs) {
        throw new ApiError('API_TASK_TIMEOUT', `task ${taskId} has not ended within ${options.timeoutMs / 1000} s${stepText(task)}`);
      }
      await sleep(options.pollMs ?? POLL_MS, undefined, options.signal === undefined ? {} : { signal: options.signal });
    }
  }

  async #taskOrSilence<Task>(taskId: string, heardAt: number, silenceMs: number): Promise<Task | undefined> {
    try {
      return await this.get<Task>(`/tasks/${encodeURIComponent(taskId)}`);
    } catch (error) {
      if (error instanceof ApiError && error.isRetryable && performance.now() - heardAt < silenceMs) return undefined;
      throw error;
    }
  }

  async #call<Answer>(method: HttpRequest['method'], path: string, body?: object): Promise<Answer> {
    try {
      return answerOf<Answer>(await this.#inSession(method, path, body));
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'API_UNAUTHORIZED' || this.#credentials === undefined) throw error;
      await this.login(this.#credentials);
      return answerOf<Answer>(await this.#inSession(method, path, body));
    }
  }

  /** The answer as it came, for what is no JSON document. */
  async getText(path: string, query: Query = {}): Promise<string> {
    return (await this.#inSession('GET', withQuery(path, query))).text;
  }

  #inSession(method: HttpRequest['method'], path: string, body?: object): Promise<HttpAnswer> {
    const headers: Record<string, string> = {};
    if (this.#session !== undefined) headers[SESSION_HEADER] = this.#session;
    else if (this.#token !== undefined) headers['authorization'] = `Bearer ${this.#token}`;
    return this.#send(method, path, body === undefined ? { headers } : { headers, body });
  }

  /** Throws for every status but 2xx. */
  async #send(method: HttpRequest['method'], path: string, { headers, body }: { headers: Readonly<Record<string, string>>; body?: object }): Promise<HttpAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const framing: Record<string, string> = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) };
    const answer = await exchange(this.#agent, {
      url: new URL(this.#base + path), method, timeoutMs: this.#timeoutMs,
      headers: { accept: 'application/json', ...framing, ...headers },
      ...(text === undefined ? {} : { body: text }),
    });
    if (answer.status < 200 || answer.status > 299) throw new ApiError(codeOfStatus(answer.status), messageOf(answer), { status: answer.status });
    return answer;
  }
}

function withQuery(path: string, query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]): [string, string][] => (value === null || value === undefined ? [] : [[name, String(value)]]));
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs).toString()}`;
}

/** An empty answer (settings PUT, log-out) is undefined. */
function answerOf<Answer>({ text }: HttpAnswer): Answer {
  if (text.trim() === '') return undefined as Answer;
  try {
    return JSON.parse(text) as Answer;
  } catch (cause) {
    throw new ApiError('API_PROTOCOL', 'the answer is not JSON', { cause });
  }
}

function messageOf({ status, text }: HttpAnswer): string {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null && 'Message' in body && typeof body.Message === 'string' && body.Message !== '') return body.Message;
  } catch {
    // Not this API's form (a proxy, an old server): the status is all there is to say.
  }
  return `the server answered with status ${status}`;
}

/** Throws when it ended otherwise than completed. */
function hasEnded(task: TaskProgress): boolean {
  const { State } = task.Status;
  if (State === TASK_COMPLETED) return true;
  if (State !== TASK_FAILED && State !== TASK_STOPPED) return false;
  const reason = task.CompleteReason ?? '';
  throw new ApiError('API_TASK_FAILED', reason === '' ? 'the task failed without giving a reason' : reason);
}

const stepText = (task: TaskProgress | undefined): string => (task === undefined ? '' : ` (${task.Status.Progress} %${task.CurrentStep ? `, ${task.CurrentStep}` : ''})`);
