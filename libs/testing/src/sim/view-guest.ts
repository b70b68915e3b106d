import { SECTOR_BYTES } from '@tidemark/base';
import type { RecoveringHost, ViewSpec } from './recovering-host.js';
import type { SwarmOptions } from './swarm.js';
import { keyOf } from './topology.js';
import { Violation, type World } from './world.js';

interface ScratchWrite {
  readonly volume: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
  isDone: boolean;
}

const THINK_MS = 8;
const RETRY_MS = 60;

/**
 * A recovered VM on its view: reads, writes, flushes, one after the other, and what it reads is compared with what it must be. After a crash
 * of its host it goes on: completed writes are there after a kill, flushed ones after a power loss, and each sector is a whole one of some write.
 */
export class ViewGuest {
  /** Known to be on the recovery disk whatever happens. */
  #safe: Uint8Array[];
  /** Since then, in order. */
  #log: ScratchWrite[] = [];
  #life: number;
  #isPowerLost = false;
  isStopped = false;
  /** Nobody asks for its images any more. */
  isRetired = false;
  #isIdle = true;
  #count = 0;
  readCount = 0;

  constructor(
    private readonly world: World,
    private readonly host: RecoveringHost,
    readonly spec: ViewSpec,
    images: readonly Uint8Array[],
    private readonly options: Pick<SwarmOptions, 'writeSectorsMax' | 'zeroesChance' | 'reverseChance' | 'space'>,
  ) {
    this.#safe = images.map((image) => image.slice());
    this.#life = host.life;
  }

  /** Nothing is under way, and it has looked at what the last crash of its host left. */
  get isIdle(): boolean {
    return this.#isIdle && this.host.isAlive && this.#life === this.host.life;
  }

  /** What the disks must hold. */
  get images(): Uint8Array[] {
    return this.#imagesWith((write) => write.isDone);
  }

  start(): void {
    this.#next();
  }

  hostCrashed(isPowerLoss: boolean): void {
    if (isPowerLoss) this.#isPowerLost = true;
  }

  #next(delayMs = this.world.random.below(THINK_MS)): void {
    this.world.after(delayMs, () => {
      if (this.isRetired) return;
      // It does nothing more, but for the look at what a crash leaves.
      if (this.isStopped && this.#life === this.host.life) return this.#next(RETRY_MS);
      const view = this.host.isAlive && !this.host.isPaused ? this.host.view(this.spec.viewId) : undefined;
      if (view === undefined) return this.#next(RETRY_MS);
      this.world.touch();
      this.#isIdle = false;
      const life = this.host.life;
      const work = this.#life === life ? this.#act() : this.#checkAfterCrash(life);
      const again = (): void => {
        this.world.touch();
        if (this.host.life !== life) return;
        this.#isIdle = true;
        this.#next();
      };
      void work.then(again, (error: unknown) => {
        if (error instanceof Violation) this.world.fail(error);
        again();
      });
      // A dead process answers nothing: somebody has to notice.
      this.#watch(life);
    });
  }

  #watch(life: number): void {
    this.world.after(RETRY_MS, () => {
      if (this.#isIdle) return;
      if (this.host.life === life && this.host.isAlive) return this.#watch(life);
      this.#isIdle = true;
      this.#next();
    });
  }

  async #act(): Promise<void> {
    const { random } = this.world;
    const view = this.host.view(this.spec.viewId);
    // One that was removed before the checkpoint has no bytes.
    const present = this.#safe.flatMap((image, index) => (image.byteLength > 0 ? [index] : []));
    const volumeIndex = present[random.int(present.length)] ?? 0;
    const volume = view?.volumes[volumeIndex];
    const wholeBytes = this.#safe[volumeIndex]?.byteLength ?? 0;
    // Where protection may turn round, most blocks stay as they were at the checkpoint: what is wrong there is not soon written over.
    const sizeBytes = this.options.reverseChance > 0 ? wholeBytes / 4 : wholeBytes;
    if (volume === undefined) return;
    const sectors = 1 + random.int(this.options.writeSectorsMax);
    const offset = random.int(Math.max(1, sizeBytes / SECTOR_BYTES - sectors)) * SECTOR_BYTES;
    const length = Math.min(sectors * SECTOR_BYTES, wholeBytes - offset);
    const choice = random.unit();
    if (this.#count === 0 || choice < 0.05) await this.#readAll();
    else if (choice < 0.3) await this.#read(volumeIndex, offset, length);
    else if (choice < 0.45) await this.#flush();
    else await this.#write({ volume: volumeIndex, offset, bytes: this.#bytes(length), isDone: false });
    this.#count += 1;
  }

  #bytes(length: number): Uint8Array {
    const { random } = this.world;
    const bytes = new Uint8Array(length);
    if (!random.chance(this.options.zeroesChance)) for (let at = 0; at < length; at += SECTOR_BYTES) bytes.fill(1 + random.int(255), at, at + SECTOR_BYTES);
    return bytes;
  }

  async #write(write: ScratchWrite): Promise<void> {
    const volume = this.host.view(this.spec.viewId)?.volumes[write.volume];
    if (volume === undefined) return;
    this.#log.push(write);
    const { bytes, offset } = write;
    try {
      await (bytes.every((byte) => byte === 0) ? volume.writeZeroes(offset, bytes.byteLength) : volume.write(offset, bytes.slice()));
      write.isDone = true;
    } catch (error) {
      // Beyond a limit it leaves no trace.
      if (this.options.space !== undefined && (error as { readonly code?: unknown }).code === 'VOLUME_FULL') this.#log = this.#log.filter((one) => one !== write);
      // No space, or a disk that failed: the guest sees an error, and nobody knows what is there.
      await this.#settleUnknown();
    }
  }

  async #flush(): Promise<void> {
    const volumes = this.host.view(this.spec.viewId)?.volumes ?? [];
    const images = this.images;
    const log = this.#log;
    try {
      // Each disk is one of its own: scratch has one file for all of them, the promoted disks have not.
      for (const volume of volumes) await volume.flush();
    } catch {
      return;
    }
    this.#safe = images;
    this.#log = this.#log.filter((write) => !log.includes(write));
  }

  async #read(volumeIndex: number, offset: number, length: number): Promise<void> {
    const volume = this.host.view(this.spec.viewId)?.volumes[volumeIndex];
    // Closed between two reads: damage was found in its journal, which is being opened anew.
    if (volume === undefined) return;
    const target = new Uint8Array(length);
    try {
      await volume.read(offset, target);
    } catch (error) {
      return this.#cannotRead(error);
    }
    this.readCount += 1;
    const expected = this.images[volumeIndex]?.subarray(offset, offset + length) ?? new Uint8Array();
    if (Buffer.compare(target, expected) !== 0) throw new Violation('view', `${this.spec.viewId} of ${this.spec.vmId}: volume ${volumeIndex} reads wrong bytes at ${offset}`);
  }

  /** A wrong bit on the medium makes a read fail, or a sector that cannot be read; nothing else may. */
  #cannotRead(error: unknown): void {
    const { viewId, vpgId, vmId } = this.spec;
    const key = keyOf(vpgId, vmId);
    if (!this.host.rotted.has(key) && !this.host.unreadable.has(key)) throw new Violation('view', `${viewId} of ${vmId} cannot be read: ${String(error)}`);
  }

  async #readAll(): Promise<void> {
    for (const [volume, image] of this.#safe.entries()) await this.#read(volume, 0, image.byteLength);
  }

  /** What the disk holds now is one of the possible things, and from now on it is the truth. */
  async #settleUnknown(): Promise<void> {
    const found = await this.#found();
    if (found === undefined) return;
    this.#checkPossible(found, this.images, this.#log.filter((write) => !write.isDone));
    // Not known to be durable: as one more write of everything.
    found.forEach((bytes, volume) => this.#log.push({ volume, offset: 0, bytes, isDone: true }));
  }

  async #checkAfterCrash(life: number): Promise<void> {
    const found = await this.#found();
    if (found === undefined || this.host.life !== life) return;
    const base = this.#isPowerLost ? this.#safe : this.images;
    // After a failed fsync nobody knows what a power loss leaves; the guest was told.
    const isKnown = !this.host.disk.hasFailedSync;
    if (isKnown) this.#checkPossible(found, base, this.#isPowerLost ? this.#log : this.#log.filter((write) => !write.isDone));
    this.#safe = found;
    this.#log = [];
    this.#isPowerLost = false;
    this.#life = life;
    // What was found is durable only after the next flush of a promoted disk: scratch made it durable when it was opened.
    await this.#flush();
  }

  async #found(): Promise<Uint8Array[] | undefined> {
    const view = this.host.view(this.spec.viewId);
    const found = this.#safe.map((image) => new Uint8Array(image.byteLength));
    try {
      for (const [volume, bytes] of found.entries()) await view?.volumes[volume]?.read(0, bytes);
    } catch {
      return undefined;
    }
    return view === undefined ? undefined : found;
  }

  #checkPossible(found: readonly Uint8Array[], base: readonly Uint8Array[], perhaps: readonly ScratchWrite[]): void {
    found.forEach((bytes, volume) => {
      const expected = base[volume];
      for (let at = 0; at < bytes.byteLength; at += SECTOR_BYTES) {
        const sector = bytes.subarray(at, at + SECTOR_BYTES);
        if (expected !== undefined && Buffer.compare(sector, expected.subarray(at, at + SECTOR_BYTES)) === 0) continue;
        const isKnown = perhaps.some((write) => write.volume === volume && write.offset <= at && at < write.offset + write.bytes.byteLength
          && Buffer.compare(sector, write.bytes.subarray(at - write.offset, at - write.offset + SECTOR_BYTES)) === 0);
        if (!isKnown) throw new Violation('view', `${this.spec.viewId} of ${this.spec.vmId}: after a crash, volume ${volume} holds at ${at} what was not written there`);
      }
    });
  }

  #imagesWith(isTaken: (write: ScratchWrite) => boolean): Uint8Array[] {
    const images = this.#safe.map((image) => image.slice());
    for (const write of this.#log) if (isTaken(write)) images[write.volume]?.set(write.bytes, write.offset);
    return images;
  }
}
