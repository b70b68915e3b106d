import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Real servers for tests: children of the test in temporary folders on free ports of 127.0.0.1. */

const POSTGRES_BIN = process.env['TIDEMARK_POSTGRES_BIN'] ?? '/usr/lib/postgresql/15/bin';
const START_MS = 20_000;

export interface TestServer {
  readonly url: string;
  /** SIGKILL; {@link start} brings it back on the same port with the same data. */
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** `at`: a port of 127.0.0.1, or the path of a UNIX socket. */
async function untilListening(at: number | string, child: ChildProcess, what: string): Promise<void> {
  const until = Date.now() + START_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${what} ended with code ${child.exitCode}`);
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = typeof at === 'number' ? connect(at, '127.0.0.1') : connect(at);
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (isUp) return;
    if (Date.now() > until) throw new Error(`${what} does not listen on ${at}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

class Child {
  #process: ChildProcess | undefined;

  constructor(
    private readonly options: { readonly command: string; readonly args: readonly string[]; readonly listensAt: number | string; readonly ids?: { uid: number; gid: number }; readonly environment?: Readonly<Record<string, string>> },
  ) {}

  /** Tried again for a while: backends of a killed PostgreSQL hold its shared memory for a moment longer than it. */
  async start(): Promise<void> {
    const until = Date.now() + START_MS;
    for (;;) {
      try {
        return await this.#tryStart();
      } catch (error) {
        if (Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  async #tryStart(): Promise<void> {
    const child = spawn(this.options.command, this.options.args, { stdio: 'ignore', cwd: '/', env: { ...process.env, ...this.options.environment }, ...this.options.ids });
    this.#process = child;
    await untilListening(this.options.listensAt, child, this.options.command);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}

/** With the configuration that the site's trust has written. */
export async function startNats(file: string, port: number): Promise<TestServer> {
  const child = new Child({ command: 'nats-server', args: ['-c', file], listensAt: port });
  await child.start();
  return { url: `tls://127.0.0.1:${port}`, kill: () => child.end('SIGKILL'), start: () => child.start(), close: () => child.end('SIGTERM') };
}

/** PostgreSQL refuses root: as root, everything of it runs as, and belongs to, user `postgres`. */
function postgresIds(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = (flag: string): number => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

/** A cluster of its own; fsync is off, because no test cuts the power. */
export async function startPostgres(): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'zvm-postgres-'));
  const ids = postgresIds();
  if (ids) await chown(folder, ids.uid, ids.gid);
  const cluster = join(folder, 'cluster');
  execFileSync(join(POSTGRES_BIN, 'initdb'), ['-D', cluster, '-U', 'tidemark', '--auth=trust', '--no-sync', '-E', 'UTF8'], { stdio: 'ignore', cwd: '/', ...ids });
  const args = ['-D', cluster, '-h', '', '-k', folder, '-c', 'fsync=off', '-c', 'shared_buffers=16MB', '-c', 'max_connections=60'];
  const child = new Child({ command: join(POSTGRES_BIN, 'postgres'), args, listensAt: join(folder, '.s.PGSQL.5432'), ...(ids ? { ids } : {}) });
  await child.start();
  return {
    url: `postgres://tidemark@${encodeURIComponent(folder)}`,
    kill: () => child.end('SIGKILL'),
    start: () => child.start(),
    close: async () => {
      await child.end('SIGQUIT');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function temporaryFolder(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `${name}-`));
  await mkdir(folder, { recursive: true });
  return folder;
}

/** A ZVM as a process of its own: the built program. */
export class ZvmProcess {
  readonly url: string;
  readonly #child: Child;

  constructor(environment: Readonly<Record<string, string>>) {
    const port = Number(environment['TIDEMARK_REST_PORT']);
    this.url = `https://127.0.0.1:${port}`;
    this.#child = new Child({ command: process.execPath, args: [join(import.meta.dirname, '../../dist/main.js')], listensAt: port, environment });
  }

  async start(): Promise<void> {
    await this.#child.start();
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#child.end(signal);
  }
}
