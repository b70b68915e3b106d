import { isNbdUri } from '@tidemark/base';
import { createHash, randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '@tidemark/link';
import { ACTIVITY_EXTENT_BYTES, ActivityLog, LOG_ID_BYTES, type EarlierSession } from '@tidemark/replication';
import { activityFiles, type ActivityFiles, type MarksHandle, type TrustFile } from './activity-files.js';
import { protectionKey, type AttachedVmSpec, type Logger, type ProtectionSpec } from './types.js';
import type { VolumeMap } from './volume-map.js';

const VERSION = 1;

/** What the file of marks belongs to. It exists if and only if the marks cover everything that may differ from the end of that session. */
interface TrustDocument {
  readonly version: number;
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  readonly sessionId: string;
  readonly logId: string;
  readonly extentBytes: number;
  readonly volumes: readonly string[];
}

export interface ActivityPlace {
  /** For all logs of this VRA. */
  readonly folder: string;
  readonly spec: ProtectionSpec;
  readonly vm: AttachedVmSpec;
  readonly map: VolumeMap;
  readonly log: Logger;
  /** Default: those of this host. */
  readonly files?: ActivityFiles | undefined;
}

interface OwnFiles {
  readonly file: MarksHandle;
  readonly logId: string;
  readonly volumes: readonly string[];
  sessionId: string | undefined;
}

/**
 * The activity log of one protection on disk: `<hash>.marks`, sectors that are overwritten in place, and `<hash>.json`, which says that they can be
 * trusted. Byte formats and the order of events: docs/spec/activity-log.md.
 */
export class ActivityLogFile {
  /** Groups of marks that were made durable: a metric. */
  syncCount = 0;
  #isBroken = false;
  /** The marks could not be written: the word that they can be trusted is being taken back, and is not given again. */
  #isGivenUp = false;
  #isClosed = false;
  #isRemoved = false;
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  readonly #document: TrustFile<TrustDocument>;
  #mayBeTrusted: boolean;
  /** Counts what was asked of the document: of two that overlap the later one says what is believed. */
  #turn = 0;

  private constructor(
    readonly marks: ActivityLog,
    private readonly place: ActivityPlace,
    private readonly own: OwnFiles,
  ) {
    this.#document = documentOf(place);
    this.#mayBeTrusted = own.sessionId !== undefined;
  }

  /**
   * The log as the last process left it, if it can be trusted and belongs to these very volumes; else a new, untrusted one. `mayTrust` is
   * false when the guest may have written without it.
   */
  static async open(place: ActivityPlace, { mayTrust }: { readonly mayTrust: boolean }): Promise<ActivityLogFile> {
    await filesOf(place).makeFolder(place.folder);
    const volumes = await identitiesOf(place);
    const restored = mayTrust ? await restore(place, volumes) : undefined;
    return restored ?? (await begin(place, volumes));
  }

  /** @internal */
  static of(marks: ActivityLog, place: ActivityPlace, own: OwnFiles): ActivityLogFile {
    return new ActivityLogFile(marks, place, own);
  }

  /** Deletes the logs of protections that this VRA does not have: nobody marks in them any more. */
  static async purge(folder: string, keys: readonly string[], files = activityFiles): Promise<void> {
    const wanted = new Set(keys.map(hashOf));
    const names = await files.list(folder).catch(() => []);
    for (const name of names.toSorted()) if (!wanted.has(name.split('.')[0] ?? '')) await files.remove(join(folder, name));
  }

  get spec(): ProtectionSpec {
    return this.place.spec;
  }

  /** Marks are for these slots of the VM's disks. */
  isOf(map: VolumeMap): boolean {
    return this.place.map.isSame(map);
  }

  get isUsable(): boolean {
    return !this.#isBroken;
  }

  get isTrusted(): boolean {
    return this.own.sessionId !== undefined;
  }

  /** The next process could find the word that the marks can be trusted: from before it is written until it is durably gone. */
  get mayBeTrusted(): boolean {
    return this.#mayBeTrusted;
  }

  get trustedSessionId(): string | undefined {
    return this.own.sessionId;
  }

  get volumeCount(): number {
    return this.place.map.sizesBytes.length;
  }

  /** For a {@link Sender} that begins now: what may differ from the end of the session before. Undefined: everything. */
  earlier(): EarlierSession | undefined {
    const { sessionId } = this.own;
    if (sessionId === undefined || this.#isBroken) return undefined;
    return { sessionId, ackedSeq: this.marks.clearedSeq, suspects: [...this.marks.marked()] };
  }

  /** A write to this range of a disk slot may begin now, or when the promise resolves. It never rejects. */
  pass(slot: number, offset: number, length: number): Promise<void> | undefined {
    if (this.#isBroken) return undefined;
    const volume = this.place.map.volumeOf(slot);
    const sizeBytes = volume === undefined ? 0 : (this.place.map.sizesBytes[volume] ?? 0);
    const inside = Math.min(length, sizeBytes - offset);
    if (volume === undefined || inside <= 0 || this.marks.touch(volume, offset, inside)) return undefined;
    return this.#marked(volume, offset, inside);
  }

  /** A write that began before this log did has ended: it is marked too. One that is removed stays with its stream for a moment, which may have volumes by then that it never knew. */
  captured(volume: number, offset: number, length: number): void {
    if (!this.#isRemoved && !this.marks.isGating) this.marks.touch(volume, offset, length);
  }

  async #marked(volume: number, offset: number, length: number): Promise<void> {
    while (this.marks.isGating && !this.#isBroken && !this.#isClosed && !this.marks.isDurable(volume, offset, length)) await this.persist();
  }

  /** Resolves when the marks of now are durable, or the log is given up. Those who come while one fdatasync runs share the next. */
  persist(): Promise<void> {
    this.#next ??= this.#persistAfter(this.#current);
    return this.#next;
  }

  async #persistAfter(previous: Promise<void> | undefined): Promise<void> {
    await previous;
    this.#current = this.#next;
    this.#next = undefined;
    if (this.#isBroken || this.#isClosed) return;
    const batch = this.marks.takeBatch();
    if (batch === undefined) return;
    try {
      for (const { at, bytes } of batch.writes) this.own.file.writeSector(bytes, at);
      await this.own.file.dataSync();
    } catch (error) {
      return await this.#breakDown(error);
    }
    this.syncCount += 1;
    this.marks.batchDurable(batch);
  }

  /** Guests must not suffer from a broken state disk: without a log everything is compared after a crash. First the old word is taken back. */
  async #breakDown(error: unknown): Promise<void> {
    this.#isGivenUp = true;
    this.place.log.error({ protection: protectionKey(this.place.spec), error: String(error) }, 'the activity log cannot be written: after a crash of this VRA everything will be compared');
    await this.distrust().catch((cause: unknown) =>
      this.place.log.error({ error: String(cause) }, 'THE ACTIVITY LOG CANNOT BE TAKEN BACK: remove its folder before this VRA is started again'));
    this.#isBroken = true;
  }

  /** From now on the marks say what may differ from the end of `sessionId`; durable when it resolves. */
  async trust(sessionId: string): Promise<void> {
    await this.persist();
    if (this.#isBroken || this.#isGivenUp || this.#isClosed) return;
    const turn = this.#nextTurn();
    this.#mayBeTrusted = true;
    const { vpgId, vmId, epoch } = this.place.spec;
    const { logId, volumes } = this.own;
    await this.#document.save({ version: VERSION, vpgId, vmId, epoch, sessionId, logId, extentBytes: ACTIVITY_EXTENT_BYTES, volumes });
    if (turn === this.#turn) this.own.sessionId = sessionId;
  }

  /** The marks say nothing any more; durable when it resolves. */
  async distrust(): Promise<void> {
    this.marks.isGating = false;
    this.own.sessionId = undefined;
    const turn = this.#nextTurn();
    try {
      await this.#document.remove();
    } finally {
      // Also when it cannot be removed: whoever waits for that would wait for ever, and is told so loudly.
      if (turn === this.#turn) this.#mayBeTrusted = false;
    }
  }

  #nextTurn(): number {
    this.#turn += 1;
    return this.#turn;
  }

  /** Leaves the files for the next process. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    await this.persist();
    this.#isClosed = true;
    await this.own.file.close();
  }

  /** Nobody will mark here any more: taken back first, then deleted. */
  async remove(): Promise<void> {
    this.#isRemoved = true;
    await this.distrust();
    await this.close();
    await filesOf(this.place).remove(marksPath(this.place.folder, protectionKey(this.place.spec)));
  }
}

const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex').slice(0, 32);
const marksPath = (folder: string, key: string): string => join(folder, `${hashOf(key)}.marks`);
const filesOf = ({ files = activityFiles }: ActivityPlace): ActivityFiles => files;
const documentOf = (place: ActivityPlace): TrustFile<TrustDocument> => filesOf(place).document(join(place.folder, `${hashOf(protectionKey(place.spec))}.json`));

/** Path, size, and for a file its inode and time of birth: another file under the name is another volume. */
async function identitiesOf({ map, vm, spec }: ActivityPlace): Promise<string[]> {
  return await Promise.all(spec.diskIds.map(async (diskId, volume) => {
    const path = vm.disks[map.slotOf(volume)]?.path;
    const size = `${diskId} ${String(map.sizesBytes[volume])}`;
    if (path === undefined || isNbdUri(path)) return `${size} ${path ?? ''}`;
    const { ino, birthtimeNs } = await stat(path, { bigint: true });
    return `${size} ${path} ${String(ino)} ${String(birthtimeNs)}`;
  }));
}

async function restore(place: ActivityPlace, volumes: readonly string[]): Promise<ActivityLogFile | undefined> {
  const key = protectionKey(place.spec);
  const document = await documentOf(place).load().catch(() => undefined);
  if (document === undefined || !isOf(document, place.spec, volumes)) return undefined;
  const path = marksPath(place.folder, key);
  const bytes = await filesOf(place).read(path).catch(() => undefined);
  const logId = Buffer.from(document.logId, 'hex');
  const marks = bytes && ActivityLog.restore({ volumeSizesBytes: place.map.sizesBytes, logId, crc32c }, bytes);
  if (!marks) {
    place.log.warn({ protection: key }, 'the activity log is not whole: everything is compared');
    return undefined;
  }
  return ActivityLogFile.of(marks, place, { file: await filesOf(place).open(path), logId: document.logId, volumes, sessionId: document.sessionId });
}

function isOf(document: TrustDocument, { vpgId, vmId, epoch }: ProtectionSpec, volumes: readonly string[]): boolean {
  const expected = [VERSION, vpgId, vmId, epoch, ACTIVITY_EXTENT_BYTES, ...volumes];
  const { version, sessionId, logId, extentBytes } = document;
  const found = [version, document.vpgId, document.vmId, document.epoch, extentBytes, document.volumes].flat();
  return typeof sessionId === 'string' && /^[0-9a-f]{16}$/.test(logId) && JSON.stringify(expected) === JSON.stringify(found);
}

/** The trust of an older log goes first. All sectors are written, so that marking never needs space again. */
async function begin(place: ActivityPlace, volumes: readonly string[]): Promise<ActivityLogFile> {
  const key = protectionKey(place.spec);
  await documentOf(place).remove();
  const logId = randomBytes(LOG_ID_BYTES);
  const marks = new ActivityLog({ volumeSizesBytes: place.map.sizesBytes, logId, crc32c });
  const file = await filesOf(place).create(marksPath(place.folder, key), marks.encodeAll());
  return ActivityLogFile.of(marks, place, { file, logId: logId.toString('hex'), volumes, sessionId: undefined });
}
