import { mkdir } from 'node:fs/promises';
import { NbdBlockDevice } from '../block-device/nbd-block-device.js';
import { canRun, runTool } from '../block-device/run-tool.js';

/** An ext4 on a VM's disk, mounted here as the guest's kernel would. */
export class GuestFileSystem {
  private constructor(
    private readonly device: NbdBlockDevice,
    readonly mountPoint: string,
  ) {}

  /** @param folder for the device's own files · @param isNew makes the file system first */
  static async mount(nbdUri: string, { folder, mountPoint, isNew }: { readonly folder: string; readonly mountPoint: string; readonly isNew: boolean }): Promise<GuestFileSystem> {
    const device = await NbdBlockDevice.attach(nbdUri, folder);
    try {
      if (isNew) await runTool('mkfs.ext4', ['-q', '-F', device.path]);
      await mkdir(mountPoint, { recursive: true });
      // Replays the file system's own journal, as after a power failure.
      await runTool('mount', [device.path, mountPoint]);
    } catch (error) {
      await device.detach();
      throw error;
    }
    return new GuestFileSystem(device, mountPoint);
  }

  async unmount(): Promise<void> {
    await runTool('umount', [this.mountPoint]);
    await this.device.detach();
  }

  /** The host has lost power: whatever was not written yet never will be. */
  async abandon(): Promise<void> {
    await canRun('umount', ['-l', this.mountPoint]);
    await this.device.detach();
  }
}
