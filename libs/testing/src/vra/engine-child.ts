import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { MiB } from '@tidemark/base';
import type { VraAddress, VraOptions } from '@tidemark/engine-host';
import { TestSite } from './test-site.js';

const PROGRAM = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'dist', 'vra', 'engine-process.js');

interface Waiter {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A VRA in a process that can be killed and started again on its own files and ports. */
export class EngineChild {
  /** Errors in the logs of all its processes. */
  readonly logged: string[] = [];
  #child: ChildProcess | undefined;
  readonly #waiting = new Map<number, Waiter>();
  #nextId = 1;
  #address: VraAddress | undefined;

  private constructor(
    readonly vraId: string,
    private readonly folder: string,
    private readonly more: Partial<VraOptions>,
  ) {}

  static async start(vraId: string, folder: string, more: Partial<VraOptions> = {}): Promise<EngineChild> {
    const engine = new EngineChild(vraId, folder, more);
    await engine.startAgain();
    return engine;
  }

  get socketPath(): string {
    return join(this.folder, `${this.vraId}.sock`);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.vraId} does not run`);
    return this.#child.pid;
  }

  get address(): VraAddress {
    if (!this.#address) throw new Error(`${this.vraId} has not started yet`);
    return this.#address;
  }

  async startAgain(): Promise<void> {
    const site = await TestSite.in(this.folder);
    await site.identity(this.vraId);
    const options = {
      trustFolder: site.identityFolder(this.vraId), vraId: this.vraId, address: '127.0.0.1', controlPort: this.#address?.controlPort ?? 0, dataPort: this.#address?.dataPort ?? 0,
      nbdSocketPath: this.socketPath, stateFolder: join(this.folder, `${this.vraId}-state`), captureBytesMax: 64 * MiB, ...this.more,
    };
    const child = spawn(execPath, [PROGRAM, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#address = await new Promise((resolve, reject) => {
      child.once('exit', (code, signal) => {
        const error = new Error(`${this.vraId} ended with ${String(code ?? signal)}`);
        reject(error);
        for (const { reject: giveUp } of this.#waiting.values()) giveUp(error);
        this.#waiting.clear();
      });
      createInterface({ input: child.stdout }).on('line', (line) => this.#line(line, resolve));
    });
  }

  #line(line: string, started: (address: VraAddress) => void): void {
    const message = JSON.parse(line) as { id?: number; address?: VraAddress; result?: unknown; error?: string; logged?: string };
    if (message.logged !== undefined) return void this.logged.push(message.logged);
    if (message.address) return started(message.address);
    const waiter = this.#waiting.get(message.id ?? 0);
    this.#waiting.delete(message.id ?? 0);
    if (message.error === undefined) waiter?.resolve(message.result);
    else waiter?.reject(new Error(`${this.vraId}: ${message.error}`));
  }

  async call<T>(call: string, args: object = {}): Promise<T> {
    const id = this.#nextId;
    this.#nextId += 1;
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child?.stdin?.write(`${JSON.stringify({ id, call, args })}\n`);
    return (await answered) as T;
  }

  /** SIGKILL. Resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}
