import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { runTool, type ToolOptions } from '../block-device/run-tool.js';
import { findPostgresBin, postgresUser } from '../servers/programs.js';
import { until } from '../until.js';
import { GuestFileSystem } from './guest-file-system.js';

const DATABASE = 'bank';
/** 4 MiB: the log's disk is small. */
const WAL_SEGMENT_MIB = 4;
/** Fails on a torn page, and on a write that PostgreSQL believes in and the disk has lost. */
const SETTINGS = ['fsync=on', 'full_page_writes=on', 'synchronous_commit=on', 'listen_addresses=', 'shared_buffers=32MB', 'max_wal_size=24MB', 'min_wal_size=8MB', 'checkpoint_timeout=30s', 'log_min_messages=warning'];

/**
 * PostgreSQL in a VM with two disks: its data on the first, its log on the second, each an ext4. Recovery works only if both disks are
 * of one cut: a page on the first disk may never be newer than the log on the second.
 */
export class DatabaseGuest {
  #server: ChildProcess | undefined;
  readonly #bin = findPostgresBin();
  readonly #user: ToolOptions = { ...postgresUser() };

  private constructor(
    private readonly folder: string,
    private readonly disks: readonly GuestFileSystem[],
  ) {}

  /** @param uris of the data's and the log's disk · @param folder below which everything of this guest lies */
  static async boot(uris: readonly string[], { folder, isNew }: { readonly folder: string; readonly isNew: boolean }): Promise<DatabaseGuest> {
    const disks: GuestFileSystem[] = [];
    await mkdir(folder, { recursive: true, mode: 0o755 });
    for (const [index, uri] of uris.entries()) {
      disks.push(await GuestFileSystem.mount(uri, { folder: join(folder, `device-${index}`), mountPoint: join(folder, `disk-${index}`), isNew }));
    }
    const guest = new DatabaseGuest(folder, disks);
    try {
      if (isNew) await guest.#initialise();
      await guest.#start();
    } catch (error) {
      await guest.losePower();
      throw error;
    }
    return guest;
  }

  get #data(): string {
    return join(this.folder, 'disk-0', 'data');
  }

  get #log(): string {
    return join(this.folder, 'disk-1', 'wal');
  }

  get #sockets(): string {
    return join(this.folder, 'run');
  }

  connect(database = DATABASE): pg.Client {
    const client = new pg.Client({ host: this.#sockets, user: 'postgres', database, connectionTimeoutMillis: 20_000 });
    client.on('error', () => undefined); // The query that is under way rejects, too.
    return client;
  }

  async #initialise(): Promise<void> {
    const { uid = 0, gid = 0 } = this.#user;
    for (const { mountPoint } of this.disks) await chown(mountPoint, uid, gid);
    await this.#tool('initdb', ['-D', this.#data, '--waldir', this.#log, `--wal-segsize=${WAL_SEGMENT_MIB}`, '-k', '-U', 'postgres', '--auth=trust', '--locale=C', '--encoding=UTF8']);
  }

  /** Resolves when it takes queries: after a crash that is when its own recovery has ended. */
  async #start(): Promise<void> {
    const { uid = 0, gid = 0 } = this.#user;
    await mkdir(this.#sockets, { recursive: true });
    await chown(this.#sockets, uid, gid);
    // Its image was taken from a server that ran; that server's pid means nothing here.
    await rm(join(this.#data, 'postmaster.pid'), { force: true });
    const settings = [...SETTINGS, `unix_socket_directories=${this.#sockets}`].flatMap((setting) => ['-c', setting]);
    // The log's place is a link to an absolute path, which is another one in this VM.
    await runTool('ln', ['-sfn', this.#log, join(this.#data, 'pg_wal')]);
    const log = await open(join(this.folder, 'postgres.log'), 'a');
    this.#server = spawn(join(this.#bin, 'postgres'), ['-D', this.#data, ...settings], { stdio: ['ignore', log.fd, log.fd], cwd: this.folder, ...this.#user });
    await log.close();
    await until('PostgreSQL in the guest', async () => await this.#answers(), { timeoutMs: 120_000 });
  }

  async #answers(): Promise<true | undefined> {
    const exitCode = this.#server?.exitCode ?? null;
    if (exitCode !== null) throw new Error(`PostgreSQL in the guest ended with ${exitCode}:\n${(await readFile(join(this.folder, 'postgres.log'), 'utf8')).slice(-2000)}`);
    const client = this.connect('postgres');
    try {
      await client.connect();
      return true;
    } catch {
      return undefined;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async createBank(scale: number): Promise<void> {
    await this.#tool('createdb', ['-h', this.#sockets, '-U', 'postgres', DATABASE]);
    await this.#tool('pgbench', ['-h', this.#sockets, '-U', 'postgres', '-q', '-i', '-s', String(scale), DATABASE]);
    await this.query('CREATE EXTENSION amcheck; CREATE TABLE ledger (token bigint PRIMARY KEY, note text NOT NULL, echo text NOT NULL)');
  }

  /** TPC-B-like load of `clients` connections until {@link LoadProcess.end}. */
  startLoad(clients: number): ChildProcess {
    const args = ['-h', this.#sockets, '-U', 'postgres', '-n', '-c', String(clients), '-j', '1', '-T', '86400', DATABASE];
    return spawn(join(this.#bin, 'pgbench'), args, { stdio: 'ignore', cwd: this.folder, ...this.#user });
  }

  async query<T extends object>(text: string): Promise<T[]> {
    const client = this.connect();
    try {
      await client.connect();
      return (await client.query<T>(text)).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Everything that PostgreSQL itself can say about its files; throws with what is wrong. */
  async check(): Promise<void> {
    await this.#tool('pg_amcheck', ['-h', this.#sockets, '-U', 'postgres', '--all', '--install-missing', '--heapallindexed', '--parent-check', '--rootdescend']);
    await this.#tool('pg_dumpall', ['-h', this.#sockets, '-U', 'postgres', '-f', join(this.#sockets, 'dump.sql')]);
  }

  async shutDown(): Promise<void> {
    await this.#endServer('SIGINT');
    for (const disk of [...this.disks].reverse()) await disk.unmount();
  }

  /** As a host that loses power: the server is killed, nothing is flushed. */
  async losePower(): Promise<void> {
    await this.#endServer('SIGQUIT');
    for (const disk of [...this.disks].reverse()) await disk.abandon();
  }

  async #endServer(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
  }

  #tool(name: string, args: readonly string[]): Promise<string> {
    return runTool(join(this.#bin, name), args, { ...this.#user, cwd: this.folder });
  }
}
