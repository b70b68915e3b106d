import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { LabError } from '../lab-error.js';
import type { SiteLayout } from '../layout.js';
import { managerOf } from '../servers/hypervisor.js';
import { until } from '../until.js';

/** How long a VRA may take to be connected again once its server is back: its longest pause between attempts and its rest after a loss (nbd-volume.ts), and as much for a slow machine. */
export const SERVER_BACK_MS_MAX = 2 * (2000 + 250);

/**
 * A disk that is no file of a datastore: storage with an NBD server of its own (qemu-nbd), which can be killed or stopped and comes back with the same
 * bytes. A VM gets it by {@link giveTo}.
 */
export class DiskServer {
  readonly #image: string;
  readonly #socket: string;
  #server: ChildProcess | undefined;

  /** @param folder for its own files; short, it holds a socket */
  private constructor(
    private readonly folder: string,
    readonly sizeBytes: number,
  ) {
    this.#image = join(folder, 'disk.raw');
    this.#socket = join(folder, 's');
  }

  static async create(folder: string, sizeBytes: number): Promise<DiskServer> {
    const disk = new DiskServer(folder, sizeBytes);
    await mkdir(folder, { recursive: true });
    await writeFile(disk.#image, '');
    await truncate(disk.#image, sizeBytes);
    await disk.start();
    return disk;
  }

  /** What the VM's hypervisor calls the place of the disk. */
  get location(): string {
    return `nbd+unix:///disk?socket=${this.#socket}`;
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    await rm(this.#socket, { force: true });
    const server = spawn('qemu-nbd', ['-f', 'raw', '-t', '-e', '8', '--discard=unmap', '-x', 'disk', '-k', this.#socket, this.#image], { stdio: 'ignore' });
    server.on('error', () => undefined); // `until` below then gives up.
    this.#server = server;
    await until('qemu-nbd (apt-get install qemu-utils)', async () => ((await isListening(this.#socket)) ? true : undefined), { everyMs: 20, timeoutMs: 20_000 });
  }

  /** Nobody is asked to finish anything. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
  }

  /** It neither answers nor closes its connections, and new ones are taken by its kernel alone. */
  stop(): void {
    this.#server?.kill('SIGSTOP');
  }

  goOn(): void {
    this.#server?.kill('SIGCONT');
  }

  /** Adds the disk to a VM of `site`, as an administrator does in the hypervisor's own tools. */
  async giveTo(site: SiteLayout, vmName: string, diskId: string): Promise<void> {
    const manager = managerOf(site);
    const vm = (await manager.inventory()).vms.find(({ name }) => name === vmName);
    const datastoreId = vm?.disks[0]?.datastoreId;
    if (!vm || datastoreId === undefined) throw new LabError('LAB_UNKNOWN', `site ${site.name} has no VM ${vmName} with a disk`);
    await manager.addDisk(vm.id, { id: diskId, sizeBytes: this.sizeBytes, datastoreId, location: this.location, isFile: true });
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const tell = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once('connect', () => tell(true));
    socket.once('error', () => tell(false));
  });
}
