import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, rm, stat, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../until.js';
import { canRun, runTool } from './run-tool.js';

/**
 * A datastore on a disk of its own that can fill up, answer EIO or turn read-only: an ext4 on a loop device over nbdfuse over nbdkit,
 * whose error filter is switched by a file. Needs root.
 */
export class FaultyDatastore {
  readonly #image: string;
  readonly #socket: string;
  readonly #errorSwitch: string;
  readonly #fuseFile: string;
  readonly #ballast: string;
  #loop: string | undefined;
  #isMounted = false;
  readonly #children: ChildProcess[] = [];

  /** @param folder for its own files · @param mountPoint where the datastore is */
  constructor(
    private readonly folder: string,
    private readonly mountPoint: string,
  ) {
    this.#image = join(folder, 'disk.img');
    this.#socket = join(folder, 'disk.sock');
    this.#errorSwitch = join(folder, 'error');
    this.#fuseFile = join(folder, 'disk');
    this.#ballast = join(mountPoint, 'ballast');
  }

  /** Why there can be none here; undefined: there can. */
  static async missing(): Promise<string | undefined> {
    if (process.getuid?.() !== 0) return 'not root';
    for (const command of ['nbdkit', 'nbdfuse']) if (!(await canRun(command, ['--version']))) return `no ${command}`;
    return (await canRun('losetup', ['-f'])) ? undefined : 'no loop device';
  }

  async create(sizeBytes: number): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await mkdir(this.mountPoint, { recursive: true });
    await writeFile(this.#image, '');
    await truncate(this.#image, sizeBytes);
    const rates = ['error=EIO', 'error-pwrite-rate=100%', 'error-zero-rate=100%', 'error-trim-rate=100%', 'error-pread-rate=0'];
    this.#spawn('nbdkit', ['-f', '-U', this.#socket, '--filter=error', 'file', this.#image, `error-file=${this.#errorSwitch}`, ...rates]);
    await until('nbdkit', () => Promise.resolve(existsSync(this.#socket) ? true : undefined), { everyMs: 20 });
    await writeFile(this.#fuseFile, '');
    this.#spawn('nbdfuse', [this.#fuseFile, `nbd+unix:///?socket=${this.#socket}`]);
    await until('nbdfuse', async () => ((await stat(this.#fuseFile)).size === sizeBytes ? true : undefined), { everyMs: 20 });
    this.#loop = await runTool('losetup', ['--show', '-f', this.#fuseFile]);
    await runTool('mkfs.ext4', ['-q', '-F', this.#loop]);
    await this.#mount();
  }

  /** Takes all free space but a little less than a journal segment's header. */
  async fill(): Promise<void> {
    const { bavail, bsize } = await statfs(this.mountPoint);
    await runTool('fallocate', ['-l', String(Math.max(bsize, bavail * bsize - 4096)), this.#ballast]);
  }

  async empty(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  async breakWrites(): Promise<void> {
    await writeFile(this.#errorSwitch, '');
  }

  /** What ext4 does by itself (`errors=remount-ro`) when it finds itself damaged: open files and all. */
  async turnReadOnly(): Promise<void> {
    await runTool('mount', ['-o', 'remount,abort', this.mountPoint]);
  }

  /** A repaired disk: nobody may have a file open on it. */
  async repair(): Promise<void> {
    await rm(this.#errorSwitch, { force: true });
    await this.#unmount();
    await runTool('e2fsck', ['-p', this.#loop ?? '']).catch((error: unknown) => {
      // Exit codes 1 and 2: errors were found and mended.
      const code = ((error as Error).cause as { code?: number } | undefined)?.code ?? 8;
      if (code > 2) throw error;
    });
    await this.#mount();
  }

  async remove(): Promise<void> {
    await rm(this.#errorSwitch, { force: true });
    await this.#unmount();
    if (this.#loop !== undefined) await runTool('losetup', ['-d', this.#loop]);
    await runTool('umount', [this.#fuseFile]).catch(() => undefined);
    for (const child of this.#children.reverse()) await end(child);
    await rm(this.folder, { recursive: true, force: true });
  }

  async #mount(): Promise<void> {
    await runTool('mount', ['-o', 'errors=remount-ro', this.#loop ?? '', this.mountPoint]);
    this.#isMounted = true;
  }

  /** A process that was just killed may hold the mount for a moment. */
  async #unmount(): Promise<void> {
    if (!this.#isMounted) return;
    await until('unmounting', async () => ((await canRun('umount', [this.mountPoint])) ? true : undefined), { timeoutMs: 20_000 });
    this.#isMounted = false;
  }

  #spawn(command: string, args: readonly string[]): void {
    this.#children.push(spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'] }));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
