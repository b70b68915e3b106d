import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../lab-error.js';

export interface RestAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface SiteApiOptions {
  readonly restUrl: string;
  readonly user: string;
  readonly password: string;
  readonly caFile: string;
}

const CALL_TIMEOUT_MS = 30_000;
const TASK_POLL_MS = 200;
const TASK_STATE = { failed: 4, stopped: 5, completed: 6 } as const;

/** Task id of a call that started one. */
type TaskId = string;

/** The REST API of one ZVM, as a script would use it: logs in when needed, and again when its session has ended. */
export class SiteApi {
  readonly #agent: Agent;
  #session: string | undefined;

  constructor(private readonly options: SiteApiOptions) {
    // The pinned certificate is the site's identity, so its name is not looked at.
    this.#agent = new Agent({ keepAlive: true, ca: readFileSync(options.caFile), checkServerIdentity: () => undefined });
  }

  /** Any call, whatever its answer. `path` begins after `/v1`. */
  async raw(method: string, path: string, body?: unknown): Promise<RestAnswer> {
    this.#session ??= await this.#logIn();
    const answer = await this.#send(method, path, { body, headers: { 'x-zerto-session': this.#session } });
    if (answer.status !== 401) return answer;
    this.#session = await this.#logIn();
    return await this.#send(method, path, { body, headers: { 'x-zerto-session': this.#session } });
  }

  /** The body of a good answer; a refusal becomes LAB_REFUSED with the site's own message. */
  async call<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.raw(method, path, body);
    if (answer.status < 300) return answer.body as T;
    const message = (answer.body as { Message?: string } | null)?.Message ?? JSON.stringify(answer.body);
    throw new LabError('LAB_REFUSED', `${method} ${this.options.restUrl}/v1${path} answers ${answer.status}: ${message}`);
  }

  get<T = unknown>(path: string): Promise<T> {
    return this.call<T>('GET', path);
  }

  /** Starts a long operation and waits until its task is completed; a failed one throws LAB_REFUSED with the reason. */
  async run(method: string, path: string, body?: unknown, timeoutMs = 120_000): Promise<void> {
    await this.waitForTask(await this.call<TaskId>(method, path, body), timeoutMs);
  }

  async waitForTask(taskId: TaskId, timeoutMs = 120_000): Promise<void> {
    for (const startedAtMs = performance.now(); ; await sleep(TASK_POLL_MS)) {
      const task = await this.get<{ Type?: unknown; Status: { State: number; Progress: number }; CompleteReason?: string | null }>(`/tasks/${taskId}`);
      const { State: state } = task.Status;
      if (state === TASK_STATE.completed) return;
      if (state === TASK_STATE.failed || state === TASK_STATE.stopped) {
        throw new LabError('LAB_REFUSED', `task ${taskId} at ${this.options.restUrl} failed: ${task.CompleteReason ?? 'no reason given'}`);
      }
      if (performance.now() - startedAtMs > timeoutMs) {
        throw new LabError('LAB_TIMEOUT', `task ${taskId} at ${this.options.restUrl} is at ${task.Status.Progress} % after ${timeoutMs / 1000} s`);
      }
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #logIn(): Promise<string> {
    const { user, password, restUrl } = this.options;
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    const answer = await this.#send('POST', '/session/add', { body: { AuthenticationMethod: 1 }, headers: { authorization } });
    const session = answer.headers['x-zerto-session'];
    if (answer.status === 200 && typeof session === 'string') return session;
    throw new LabError('LAB_REFUSED', `${restUrl} refuses the log-in of ${user} (${answer.status})`);
  }

  #send(method: string, path: string, { body, headers }: { readonly body: unknown; readonly headers: Record<string, string> }): Promise<RestAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const sent = { ...headers, ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }) };
    return new Promise((resolve, reject) => {
      const call = request(`${this.options.restUrl}/v1${path}`, { method, agent: this.#agent, headers: sent, timeout: CALL_TIMEOUT_MS }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.once('error', reject);
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed(Buffer.concat(parts).toString('utf8')) });
        });
      });
      call.once('timeout', () => call.destroy(new LabError('LAB_TIMEOUT', `${method} ${path}: no answer within ${CALL_TIMEOUT_MS / 1000} s`)));
      call.once('error', reject);
      call.end(text);
    });
  }
}

function parsed(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
