import { readFile } from 'node:fs/promises';
import { ApiClient, type Query } from '@tidemark/api-client';

export interface SiteApiOptions {
  readonly restUrl: string;
  readonly user: string;
  readonly password: string;
  /** PEM of the site's CA. */
  readonly caFile: string;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

const TASK_TIMEOUT_MS = 120_000;
const TASK_POLL_MS = 150;

/** The REST API of one site's ZVM, logged in. Failures are ApiErrors with the site's own message. */
export class SiteApi {
  private constructor(private readonly client: ApiClient) {}

  /** Throws ApiErrors: unreachable, refused. */
  static async logIn({ restUrl, user, password, caFile }: SiteApiOptions): Promise<SiteApi> {
    const client = new ApiClient({ url: restUrl, trust: { kind: 'ca', pem: await readFile(caFile, 'utf8') } });
    await client.login({ user, password });
    return new SiteApi(client);
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.client.get<T>(path, query);
  }

  call<T = unknown>(method: Method, path: string, body?: object): Promise<T> {
    switch (method) {
      case 'GET': return this.client.get<T>(path);
      case 'POST': return this.client.post<T>(path, body);
      case 'PUT': return this.client.put<T>(path, body ?? {});
      case 'DELETE': return this.client.delete<T>(path, body);
    }
  }

  /** A call that answers a task's id; resolves when that task is completed. */
  async run(method: Method, path: string, body?: object): Promise<void> {
    await this.client.waitForTask(await this.call<string>(method, path, body), { timeoutMs: TASK_TIMEOUT_MS, pollMs: TASK_POLL_MS });
  }

  async close(): Promise<void> {
    await this.client.close();
  }
}
