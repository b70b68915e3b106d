import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { endChild, missingForBlockDevices, NbdBlockDevice } from '../block-device/nbd-block-device.js';
import { canRun, runTool } from '../block-device/run-tool.js';
import { until } from '../until.js';

/**
 * A datastore on a disk of its own that can fill up, answer EIO or turn read-only: an ext4 on a loop device over nbdfuse over nbdkit,
 * whose error filter is switched by a file. Needs root.
 */
export class FaultyDatastore {
  readonly #image: string;
  readonly #socket: string;
  readonly #errorSwitch: string;
  readonly #ballast: string;
  #server: ChildProcess | undefined;
  #device: NbdBlockDevice | undefined;
  #isMounted = false;

  /** @param folder for its own files · @param mountPoint where the datastore is */
  constructor(
    private readonly folder: string,
    private readonly mountPoint: string,
  ) {
    this.#image = join(folder, 'disk.img');
    this.#socket = join(folder, 'disk.sock');
    this.#errorSwitch = join(folder, 'error');
    this.#ballast = join(mountPoint, 'ballast');
  }

  /** Why there can be none here; undefined: there can. */
  static async missing(): Promise<string | undefined> {
    return (await canRun('nbdkit', ['--version'])) ? await missingForBlockDevices() : 'there is no nbdkit (apt-get install nbdkit)';
  }

  async create(sizeBytes: number): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await mkdir(this.mountPoint, { recursive: true });
    await writeFile(this.#image, '');
    await truncate(this.#image, sizeBytes);
    const rates = ['error=EIO', 'error-pwrite-rate=100%', 'error-zero-rate=100%', 'error-trim-rate=100%', 'error-pread-rate=0'];
    const args = ['-f', '-U', this.#socket, '--filter=error', 'file', this.#image, `error-file=${this.#errorSwitch}`, ...rates];
    this.#server = spawn('nbdkit', args, { stdio: 'ignore' });
    await until('nbdkit', () => Promise.resolve(existsSync(this.#socket) ? true : undefined), { everyMs: 20 });
    this.#device = await NbdBlockDevice.attach(`nbd+unix:///?socket=${this.#socket}`, join(this.folder, 'device'));
    await runTool('mkfs.ext4', ['-q', '-F', this.#device.path]);
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
    await runTool('e2fsck', ['-p', this.#device?.path ?? '']).catch((error: unknown) => {
      // Exit codes 1 and 2: errors were found and mended.
      const code = ((error as Error).cause as { code?: number } | undefined)?.code ?? 8;
      if (code > 2) throw error;
    });
    await this.#mount();
  }

  async remove(): Promise<void> {
    await rm(this.#errorSwitch, { force: true });
    await this.#unmount();
    await this.#device?.detach();
    if (this.#server) await endChild(this.#server);
    await rm(this.folder, { recursive: true, force: true });
  }

  async #mount(): Promise<void> {
    await runTool('mount', ['-o', 'errors=remount-ro', this.#device?.path ?? '', this.mountPoint]);
    this.#isMounted = true;
  }

  /** A process that was just killed may hold the mount for a moment. */
  async #unmount(): Promise<void> {
    if (!this.#isMounted) return;
    await until('unmounting', async () => ((await canRun('umount', [this.mountPoint])) ? true : undefined), { timeoutMs: 20_000 });
    this.#isMounted = false;
  }
}
