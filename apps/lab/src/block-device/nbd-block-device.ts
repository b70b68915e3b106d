import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../until.js';
import { canRun, runTool } from './run-tool.js';

/** Why this machine cannot make block devices of NBD exports; undefined: it can. */
export async function missingForBlockDevices(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'root is needed';
  if (!(await canRun('nbdfuse', ['--version']))) return 'there is no nbdfuse (apt-get install libnbd-bin)';
  return (await canRun('losetup', ['-f'])) ? undefined : 'there is no loop device';
}

/** An NBD export as a block device of this machine's kernel: nbdfuse and a loop device. Flushes go through to the export. */
export class NbdBlockDevice {
  private constructor(
    private readonly folder: string,
    private readonly fuse: ChildProcess,
    /** `/dev/loop3` */
    readonly path: string,
  ) {}

  /** @param folder made for it, removed by {@link detach} */
  static async attach(nbdUri: string, folder: string): Promise<NbdBlockDevice> {
    await mkdir(folder, { recursive: true });
    const file = join(folder, 'disk');
    await writeFile(file, '');
    const fuse = spawn('nbdfuse', [file, nbdUri], { stdio: 'ignore' });
    fuse.on('error', () => undefined); // `until` below then gives up.
    await until(`nbdfuse of ${nbdUri}`, async () => ((await stat(file)).size > 0 ? true : undefined), { everyMs: 20, timeoutMs: 20_000 });
    return new NbdBlockDevice(folder, fuse, await runTool('losetup', ['--show', '-f', file]));
  }

  /** Nobody may use the device any more. After the export has died, too. */
  async detach(): Promise<void> {
    await runTool('losetup', ['-d', this.path]);
    // A loop device that is still held by a lazily unmounted file system goes when that goes.
    if (!(await canRun('umount', [join(this.folder, 'disk')]))) await canRun('umount', ['-l', join(this.folder, 'disk')]);
    await endChild(this.fuse);
    await rm(this.folder, { recursive: true, force: true });
  }
}

export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await exited;
  clearTimeout(timer);
}
