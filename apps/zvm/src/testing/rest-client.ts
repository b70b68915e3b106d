import { Agent, request } from 'node:https';

export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** What a REST client does, without the help of a library that would hide a mistake in headers or bodies. */
export class RestClient {
  session: string | undefined;

  constructor(
    readonly baseUrl: string,
    private readonly password: string,
    /** A connection for each request, unless one is given. */
    readonly agent: Agent | false = false,
  ) {}

  call(method: string, path: string, options: { readonly body?: unknown; readonly text?: string; readonly headers?: Record<string, string> } = {}): Promise<RestAnswer> {
    const text = options.text ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const headers: Record<string, string> = { 'content-type': 'application/json', ...(this.session ? { 'x-zerto-session': this.session } : {}), ...options.headers };
    // Node sends the body of a DELETE without a length unless it is told.
    if (text !== undefined) headers['content-length'] = String(Buffer.byteLength(text));
    return new Promise((resolve, reject) => {
      const call = request(`${this.baseUrl}/v1${path}`, { method, headers, rejectUnauthorized: false, agent: this.agent }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(parts).toString('utf8') }));
      });
      call.on('error', reject);
      call.end(text);
    });
  }

  async logIn(user = 'admin', password = this.password): Promise<RestAnswer> {
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    const answer = await this.call('POST', '/session/add', { headers: { authorization } });
    const header = answer.headers['x-zerto-session'];
    if (answer.status === 200 && typeof header === 'string') this.session = header;
    return answer;
  }

  /** The parsed body of a call that must succeed. */
  async ok<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.call(method, path, body === undefined ? {} : { body });
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return (answer.text === '' ? undefined : JSON.parse(answer.text)) as T;
  }

  /** The `Message` of a call that must be refused with `status`. */
  async refused(status: number, method: string, path: string, body?: unknown): Promise<string> {
    const answer = await this.call(method, path, body === undefined ? {} : { body });
    if (answer.status !== status) throw new Error(`${method} ${path}: ${status} expected, got ${answer.status} ${answer.text}`);
    return (JSON.parse(answer.text) as { Message: string }).Message;
  }

  /** The task's end. */
  async task(taskId: string, timeoutMs = 30_000): Promise<{ readonly state: number; readonly reason: string }> {
    const until = Date.now() + timeoutMs;
    for (;;) {
      const task = await this.ok<{ Status: { State: number; Progress: number }; CompleteReason: string; CurrentStep: string | null }>('GET', `/tasks/${taskId}`);
      if (task.Status.State !== 1) return { state: task.Status.State, reason: task.CompleteReason };
      if (Date.now() > until) throw new Error(`task ${taskId} still runs: ${task.CurrentStep ?? ''}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
