import { isNbdUri } from '@tidemark/base';
import type { Done } from '@tidemark/base';
import { BlockFile } from '@tidemark/block-file';
import { openNbdVolume, type Outage, type ServedVolume } from '@tidemark/nbd-client';
import { VolumeError, type AllocationRun, type Volume, type WriteOptions, type WriteZeroesOptions } from '@tidemark/volume';
import type { AttachedDisk, Logger } from './types.js';

/** A disk of a VM on this host: a raw file, or the export of an NBD server. */
export interface ProtectedVolume extends Volume {
  /** Since when its server does not answer; a file has none. */
  readonly outage?: Outage | undefined;
  /** Makes the volume larger under its users. Throws `VOLUME_SIZE` when it cannot. */
  grow(sizeBytes: number): Promise<void>;
}

export interface ProtectedVolumeHooks {
  readonly log: Logger;
  /** The volume may have forgotten what was written to it and not flushed: the server behind it was away. */
  readonly onSuspect: () => void;
}

export type OpenDisk = (disk: AttachedDisk, hooks: ProtectedVolumeHooks) => Promise<ProtectedVolume>;

/**
 * A file is locked, so that no other VRA has it; and without pages that an earlier stay of the VM on this host may have left in the cache. An NBD
 * server that is lost is waited for: the guest's requests wait 25 s, then fail with EIO, at once from then on, until it is back.
 */
export const openProtectedVolume: OpenDisk = async (disk, hooks) => (isNbdUri(disk.path) ? await openExport(disk, hooks) : await openFile(disk));

async function openFile({ path, sizeBytes }: AttachedDisk): Promise<BlockFile> {
  const file = await BlockFile.open({ path, sizeBytes, isReadOnly: false, isLongerFine: true });
  try {
    file.dropCache();
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openExport({ diskId, path, sizeBytes }: AttachedDisk, { log, onSuspect }: ProtectedVolumeHooks): Promise<ProtectedVolume> {
  const volume = await openNbdVolume({
    uri: path,
    sizeBytes,
    isReadOnly: false,
    hooks: {
      onLost: (cause) => log.warn({ diskId, uri: path, cause: cause.message }, 'the NBD server of a protected volume is lost: its guest waits'),
      onReconnected: () => {
        log.info({ diskId, uri: path }, 'the NBD server of a protected volume is back');
        onSuspect();
      },
    },
  });
  return new ExportVolume(volume, path);
}

/** An export has one size: what wants it larger attaches it anew. */
class ExportVolume implements ProtectedVolume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;

  constructor(
    private readonly inner: ServedVolume,
    private readonly uri: string,
  ) {
    this.sizeBytes = inner.sizeBytes;
    this.isReadOnly = inner.isReadOnly;
  }

  get outage(): Outage | undefined {
    return this.inner.outage;
  }

  read(offset: number, target: Uint8Array): Done {
    return this.inner.read(offset, target);
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    return this.inner.write(offset, source, options);
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    return this.inner.writeZeroes(offset, length, options);
  }

  flush(): Done {
    return this.inner.flush();
  }

  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]> {
    return this.inner.allocation(offset, length);
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  grow(): Promise<void> {
    return Promise.reject(new VolumeError('VOLUME_SIZE', `${this.uri} cannot grow under its guest: detach the VM and attach it again`));
  }
}
