import { chmod, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BlockFile } from '@tidemark/block-file';
import type { VolumeWish } from '@tidemark/journal';
import type { JournalVolume } from '@tidemark/journal-file';
import { makeFolder } from '@tidemark/sys/replace-file';
import { MemoryVolume, VolumeError } from '@tidemark/volume';
import { EngineError } from './engine-error.js';
import type { RecoveryVolumeSpec } from './types.js';

/** In the journal a removed volume has 0 bytes; its mirror stays for the checkpoints that have it. */
export const wishesOf = (volumes: readonly RecoveryVolumeSpec[]): VolumeWish[] =>
  volumes.map(({ diskId, sizeBytes, isRemoved }) => ({ diskId, sizeBytes: isRemoved === true ? 0 : sizeBytes }));

/** Why a recovery cannot go from one list of volumes to the other; undefined: it can. An index, its disk and its file belong together for ever. */
export function volumeChangeError(before: readonly RecoveryVolumeSpec[], after: readonly RecoveryVolumeSpec[]): string | undefined {
  if (after.length < before.length) return 'a volume is missing: a removed one keeps its place';
  for (const [index, volume] of before.entries()) {
    const next = after[index];
    if (next?.diskId !== volume.diskId || next.mirrorPath !== volume.mirrorPath) return `volume ${String(index)} is another disk`;
    if (volume.isRemoved === true && next.isRemoved !== true) return `volume ${String(index)} was removed and cannot come back`;
    if (next.sizeBytes < volume.sizeBytes) return `volume ${String(index)} cannot shrink`;
  }
  return undefined;
}

/** The mirror volumes of one recovery, by volume index. */
export class MirrorSet {
  readonly #files: (BlockFile | undefined)[] = [];
  readonly #taken = new Set<BlockFile>();

  /**
   * Opens what there is, and makes mirrors from index `knownCount` on that are missing: one before that was there, with data that a new one would not have. Of a
   * removed volume only what is still there. `isNew`: a preseeded disk is nobody's mirror yet.
   */
  async open(volumes: readonly RecoveryVolumeSpec[], { knownCount, isNew }: { readonly knownCount: number; readonly isNew: boolean }): Promise<void> {
    for (const [index, volume] of volumes.entries()) this.#files.push(await openMirror(volume, { isKnown: index < knownCount, isNew }));
  }

  /** Before the new list is durable: every mirror is there, as long as its volume will be. May be repeated. */
  async extend(volumes: readonly RecoveryVolumeSpec[]): Promise<void> {
    for (const [index, volume] of volumes.entries()) {
      const file = this.#files[index];
      if (index >= this.#files.length) this.#files.push(await openMirror(volume));
      else if (file && volume.isRemoved !== true) await file.grow(volume.sizeBytes);
    }
    await this.makePrivate(volumes);
  }

  /**
   * A preseeded disk came with whatever rights its copier gave it; from now on it holds what the guest writes. Not before its fingerprint was looked at, which this
   * changes. May be repeated.
   */
  async makePrivate(volumes: readonly RecoveryVolumeSpec[]): Promise<void> {
    for (const [index, { mirrorPath, isPreseeded }] of volumes.entries()) {
      if (isPreseeded !== true || !this.has(index) || ((await stat(mirrorPath)).mode & 0o077) === 0) continue;
      await chmod(mirrorPath, 0o600).catch((cause: unknown) => {
        throw new EngineError('VRA_PRESEED', `${mirrorPath} would stay readable for others: its rights cannot be changed to 0600; give the file to the user of the VRA`, { cause });
      });
    }
  }

  /** A promoted disk is cut to the size that it had at its checkpoint, durably. May be repeated. */
  async shrink(index: number, sizeBytes: number): Promise<void> {
    await this.#file(index).shrink(sizeBytes);
  }

  /** For the journal; nothing stands for what is gone. */
  asVolumes(volumes: readonly RecoveryVolumeSpec[]): JournalVolume[] {
    return wishesOf(volumes).map((wish, index) => ({ ...wish, mirror: this.#files[index] ?? new MemoryVolume({ sizeBytes: 0 }) }));
  }

  has(index: number): boolean {
    return this.#files[index] !== undefined;
  }

  /** Deletes the mirror of a removed volume that no checkpoint has. The journal must not know it any more. */
  async drop(index: number, { mirrorPath }: RecoveryVolumeSpec): Promise<void> {
    const file = this.#files[index];
    this.#files[index] = undefined;
    await file?.close();
    await rm(mirrorPath, { force: true });
  }

  /** After promotion the recovered VM has the volume: it is not closed here any more. */
  take(index: number): BlockFile {
    const file = this.#file(index);
    this.#taken.add(file);
    return file;
  }

  giveBack(index: number): void {
    this.#taken.delete(this.#file(index));
  }

  #file(index: number): BlockFile {
    const file = this.#files[index];
    if (!file) throw new EngineError('VRA_DISK', `no mirror volume ${String(index)}`);
    return file;
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map(async (file) => void (file && !this.#taken.has(file) && (await file.close()))));
  }
}

/** @throws EngineError VRA_PRESEED: the file cannot be a preseeded volume, and why */
export async function checkPreseed({ path, sizeBytes }: { readonly path: string; readonly sizeBytes: number }): Promise<void> {
  const file = await openMirror({ diskId: '', sizeBytes, mirrorPath: path, isPreseeded: true });
  await file?.close();
}

/** A preseeded disk must be there, of the right size, and nobody's: a mirror that is made instead of a mistyped one would copy everything without a word. Later it is a mirror like any other. */
async function openMirror({ mirrorPath, sizeBytes, isRemoved, isPreseeded }: RecoveryVolumeSpec, { isKnown, isNew } = { isKnown: false, isNew: true }): Promise<BlockFile | undefined> {
  const isForeign = isPreseeded === true && isNew;
  const mayCreate = isPreseeded !== true && isRemoved !== true && !isKnown;
  if (mayCreate) await makeFolder(dirname(mirrorPath), 0o700);
  try {
    return await BlockFile.open({ path: mirrorPath, sizeBytes, isReadOnly: false, isLongerFine: !isForeign, create: mayCreate });
  } catch (cause) {
    if (isRemoved === true && cause instanceof VolumeError && cause.code === 'VOLUME_NOT_FOUND') return undefined;
    if (isKnown && cause instanceof VolumeError && cause.code === 'VOLUME_NOT_FOUND') {
      throw new VolumeError('VOLUME_NOT_FOUND', `${mirrorPath}, a recovery volume, is gone: bring it back (is its datastore mounted?), or delete the VPG and protect its VMs anew`, { cause });
    }
    if (!isForeign || !(cause instanceof VolumeError)) throw cause;
    throw new EngineError('VRA_PRESEED', `${mirrorPath} cannot be a preseeded volume of ${String(sizeBytes)} bytes: ${cause.message}`, { cause });
  }
}
