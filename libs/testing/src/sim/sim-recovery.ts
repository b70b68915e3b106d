import { unreachable } from '@tidemark/base';
import { decodeHashRequest, decodeRecords, encodeAck, encodeFrame, encodeHashReply, encodeOpened, encodeRefused, FrameKind, type FrameHeader, type HashRequest, type OpenRequest } from '@tidemark/frame';
import type { HeldCheckpoint, JournalState } from '@tidemark/journal';
import { decompressBody, JournalFile, type JournalVolume } from '@tidemark/journal-file';
import { crc32c } from '@tidemark/link';
import { Receiver, type ReceiverEffect, type RefusedReply } from '@tidemark/replication';
import { SimFile } from './disk.js';
import { JournalOracle } from './journal-oracle.js';
import type { SimSocket } from './network.js';
import { GUARD_BYTES, type SimSpace } from './sim-space.js';
import { simFiles, SimMirror, type DiskOwner } from './sim-files.js';
import { hashReplyOf } from './sim-compare.js';
import { concat } from './sim-host.js';
import { keyOf } from './topology.js';
import { Violation } from './world.js';

export interface RecoveredVm {
  readonly vpgId: string;
  readonly vmId: string;
  readonly volumeBytes: readonly number[];
  /** The mirrors are disks that were there before. */
  readonly isPreseeded?: boolean;
  /** Limits by size. */
  readonly space?: SimSpace | undefined;
  /** They are the image that `basisId` names, as long as each file still has its version. */
  readonly basis?: { readonly basisId: string; readonly versions: readonly number[] } | undefined;
}

export interface RecoveryOptions {
  readonly epoch: number;
  readonly segmentBytes: number;
  readonly creditBytesMax: number;
  /** The space guard holds back before the disk is full. */
  readonly isGuarded: boolean;
}

export interface RecoveryHooks {
  acknowledged(key: string, durableSeq: number): void;
  opened(recovery: SimRecovery): void;
  broke(recovery: SimRecovery): void;
  /** Received by any journal of the host, and not durable. */
  pendingBytes(): number;
  refused(key: string, reply: RefusedReply): void;
  /** Somebody reads from this journal. */
  hasView(key: string): boolean;
}

interface Reply {
  readonly connection: number;
  readonly stream: number;
  readonly socket: SimSocket;
}

const REOPEN_MS = 150;
const HASH_MS_MAX = 4;
const GUARD_RESERVE_BYTES = 4096;

/** One VM of one VPG at its recovering host, in one life of the process: the real receiver, and the real journal on simulated files. */
export class SimRecovery {
  readonly key: string;
  readonly receiver: Receiver;
  readonly #replies = new Map<number, Reply>();
  readonly #oracle: JournalOracle;
  readonly #mirrors: SimMirror[];
  /** Sizes of the volumes as the manager has told them. */
  #told: readonly number[];
  #isDropping = false;
  #journal: JournalFile | undefined;
  #body: Uint8Array = new Uint8Array();
  #isOver = false;
  #isOpening = false;
  /** The journal was broken while it was being opened. */
  #isBrokenAtOpening = false;
  #appendingBytes = 0;

  constructor(readonly vm: RecoveredVm, private readonly owner: DiskOwner, private readonly options: RecoveryOptions, private readonly hooks: RecoveryHooks) {
    const { vpgId, vmId, volumeBytes } = vm;
    this.key = keyOf(vpgId, vmId);
    const { isPreseeded = false } = vm;
    this.receiver = new Receiver({ vpgId, vmId, epoch: options.epoch, volumeSizesBytes: volumeBytes, creditBytesMax: vm.space?.creditBytesMax ?? options.creditBytesMax, isPreseeded });
    this.#mirrors = volumeBytes.map((bytes, volume) => new SimMirror(owner, owner.disk.ensure(`${this.key}/mirror/${volume}`, bytes)));
    this.#told = volumeBytes;
    this.#proveBasis();
    this.#oracle = new JournalOracle(owner.disk, this.folder);
    this.#open();
  }

  #proveBasis(): void {
    const { basis } = this.vm;
    if (basis === undefined) return;
    const isSame = basis.versions.every((version, volume) => this.mirror(volume).file.version === version);
    if (isSame) this.receiver.proveBasis(basis.basisId);
  }

  get folder(): string {
    return `${this.key}/journal`;
  }

  /** undefined: being opened. */
  get journal(): JournalFile | undefined {
    return this.#journal;
  }

  held(): readonly HeldCheckpoint[] {
    return this.#journal?.checkpoints() ?? [];
  }

  /** Content of one volume before `markerSeq`: mirror, with the journal over it. */
  imageBefore(volume: number, beforeSeq: number): Uint8Array {
    const { file } = this.mirror(volume);
    if (file.sizeBytes === 0) return new Uint8Array(); // removed, and no checkpoint has it
    // Of a volume that was added the mirror has the first copy, which counts only there.
    const appliedSeq = Math.max(this.#journal?.stats().appliedSeq ?? 0, this.#journal?.volumes[volume]?.baseSeq ?? 0);
    return this.#oracle.image(volume, file, { appliedSeq, beforeSeq });
  }

  mirror(volume: number): SimMirror {
    const mirror = this.#mirrors[volume];
    if (mirror === undefined) throw new RangeError(`no volume ${volume}`);
    return mirror;
  }

  /** Nothing is taken any more; everything is closed when it resolves. */
  async end(): Promise<void> {
    this.#step((effects) => this.receiver.appendsLost(effects));
    this.over();
    await this.#journal?.close();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The process has ended: what is still under way means nothing any more. */
  over(): void {
    this.#isOver = true;
    if (this.#isOpening) this.owner.around.world.turnsWanted -= 1;
    this.#isOpening = false;
  }

  #open(isIndexDistrusted = false): void {
    const { world } = this.owner.around;
    this.#isBrokenAtOpening = false;
    this.#isOpening = true;
    world.turnsWanted += 1;
    world.touch();
    const ended = (): boolean => {
      if (this.#isOver) return true;
      this.#isOpening = false;
      world.turnsWanted -= 1;
      return false;
    };
    void this.#openJournal(isIndexDistrusted).then(
      (journal) => {
        if (!ended()) this.#opened(journal, isIndexDistrusted);
      },
      (error: unknown) => {
        if (ended()) return;
        this.#checkMayFail(error);
        this.owner.host.after(REOPEN_MS, () => this.#open(isIndexDistrusted));
      },
    );
  }

  /** An index is made again from its segments: it must not keep a journal closed. */
  #checkMayFail(error: unknown): void {
    const { disk, around } = this.owner;
    const unreadable = [...disk.files].filter(([path, file]) => path.startsWith(`${this.folder}/`) && file.hasUnreadable).map(([path]) => path);
    const isIndexOnly = unreadable.length > 0 && unreadable.every((path) => path.endsWith('.index'));
    if (isIndexOnly && (error as { readonly code?: unknown }).code === 'EIO' && !disk.hasFailed) around.world.fail(new Violation('stuck', `${this.key}: the journal cannot be opened for ${unreadable.join(', ')}`));
  }

  #openJournal(isIndexDistrusted: boolean): Promise<JournalFile> {
    const { disk, host } = this.owner;
    const { vpgId, vmId, volumeBytes, space } = this.vm;
    const { epoch, segmentBytes: usualBytes, isGuarded } = this.options;
    const segmentBytes = space?.segmentBytes ?? usualBytes;
    return JournalFile.open({
      folder: this.folder,
      identity: { vpgId, vmId },
      volumes: this.#journalVolumes(volumeBytes),
      epoch, segmentBytes, crc32c, isIndexDistrusted,
      clocks: { monotonicMs: () => host.ageNowMs(), wallClockMs: () => host.wallMs },
      decompress: decompressBody,
      cacheBytesMax: 64 * 1024,
      files: simFiles(this.owner),
      ...(space !== undefined ? { spaceGuard: () => this.#roomBytes(space) } : isGuarded ? { spaceGuard: () => Math.max(0, disk.capacityBytes - disk.usedBytes - GUARD_RESERVE_BYTES) } : {}),
      onDurable: (seq) => this.#step((effects) => this.receiver.durable(seq, effects)),
      onCheckpointsChanged: () => undefined,
      onState: (state) => this.#stateChanged(state),
    });
  }

  #opened(journal: JournalFile, isOpenedAnew: boolean): void {
    this.#journal = journal;
    const { epoch, state } = journal.stats();
    // What it was told and no stream has opened with yet is only offered.
    this.receiver.beginVolumes(journal.volumes.map(({ sizeBytes }) => sizeBytes));
    if (this.owner.around.plant?.flag !== 'fenceForgotten') this.#step((effects) => this.receiver.setEpoch(epoch, effects));
    if (this.#isBrokenAtOpening) this.hooks.broke(this);
    this.hooks.opened(this);
    this.#stateChanged(state);
    if (isOpenedAnew) this.#step((effects) => this.receiver.appendsLost(effects));
  }

  #stateChanged(state: JournalState): void {
    this.#step((effects) => {
      switch (state.phase) {
        case 'open':
          if (this.vm.space !== undefined) this.vm.space.neededBytes = 0;
          return this.receiver.journalState('ready', effects);
        case 'full':
          if (this.vm.space !== undefined) this.vm.space.neededBytes = this.#appendingBytes;
          this.receiver.journalState('full', effects);
          return this.receiver.appendsLost(effects);
        case 'broken':
          this.#isBrokenAtOpening = this.#journal === undefined;
          this.hooks.broke(this);
          return this.receiver.journalState('broken', effects);
        case 'ended':
          if (this.owner.around.plant?.flag === 'fenceForgotten') return;
          this.receiver.setEpoch(this.#journal?.stats().epoch ?? 0, effects);
          return this.receiver.end(effects);
        default: return unreachable(state.phase);
      }
    });
  }

  // ---- space

  #roomBytes(space: SimSpace): number {
    return Math.min(this.#datastoreRoomBytes, this.#journal === undefined ? 0 : space.roomBytes(this.#journal, this.#pendingBytes));
  }

  get #pendingBytes(): number {
    return this.receiver.status().pendingBytes - this.#appendingBytes;
  }

  get #datastoreRoomBytes(): number {
    const { disk } = this.owner;
    return this.options.isGuarded && this.owner.around.plant?.flag !== 'guardIgnored' ? Math.max(0, disk.capacityBytes - disk.usedBytes - (this.hooks.pendingBytes() - this.#appendingBytes) - GUARD_BYTES) : Infinity;
  }

  /** What a view's guest may still write. */
  scratchRoomBytes(scratchBytes: number): number {
    return Math.min(Math.max(0, (this.vm.space?.scratchHardBytes ?? Infinity) - scratchBytes), this.#datastoreRoomBytes);
  }

  get isAtHardLimit(): boolean {
    const journal = this.#journal;
    return journal?.stats().state.phase === 'full' && this.vm.space?.isAtHardLimit(journal, this.#pendingBytes) === true;
  }

  /** The checkpoint that should become the oldest, for the journal to keep below its hard limit. */
  wantedOldest(): HeldCheckpoint | undefined {
    return this.#journal && this.vm.space?.wantedOldest(this.#journal, this.#pendingBytes);
  }

  get segmentBytesOnDisk(): number {
    const { disk } = this.owner;
    return disk.namesIn(this.folder).filter((name) => name.endsWith('.segment')).reduce((sum, name) => sum + (disk.files.get(`${this.folder}/${name}`)?.sizeBytes ?? 0), 0);
  }

  /** Of files that count in no history any more. */
  get cutOffBytesOnDisk(): number {
    const counted = new Set(this.#journal?.segments.map(({ segment }) => segment));
    const names = this.owner.disk.namesIn(this.folder).filter((name) => name.endsWith('.segment') && !counted.has(Number.parseInt(name, 10)));
    return names.reduce((sum, name) => sum + (this.owner.disk.files.get(`${this.folder}/${name}`)?.sizeBytes ?? 0), 0);
  }

  /** There may be space again; and what cannot go on is opened anew, unless a view reads from it. */
  tick(): void {
    if (this.#isOver) return;
    this.#repair();
    this.#dropUnneededMirrors();
    const { disk, around } = this.owner;
    const { space } = this.vm;
    if (space !== undefined && this.#roomBytes(space) < space.resumeBytes) return;
    if (this.#journal?.stats().state.phase !== 'full' || disk.capacityBytes - disk.usedBytes < 2 * GUARD_RESERVE_BYTES) return;
    around.world.touch();
    this.#journal.resume();
  }

  /** Of removed volumes the mirrors that no held checkpoint has any more. */
  #dropUnneededMirrors(): void {
    const journal = this.#journal;
    if (journal === undefined || this.#isDropping || journal.stats().state.phase !== 'open') return;
    const volume = this.#told.findIndex((bytes, index) => bytes === 0 && this.mirror(index).file.sizeBytes > 0 && !journal.needsVolume(index));
    if (volume < 0) return;
    this.#isDropping = true;
    this.owner.around.world.touch();
    const volumes = this.#journalVolumes(this.#told);
    volumes[volume] = { sizeBytes: 0, mirror: new SimMirror(this.owner, new SimFile()) };
    const { disk } = this.owner;
    const dropped = journal.changeVolumes(volumes).then(() => {
      if (this.#isOver) return;
      disk.files.delete(`${this.key}/mirror/${volume}`);
      disk.syncNames(`${this.key}/mirror`);
      this.#mirrors[volume] = new SimMirror(this.owner, disk.ensure(`${this.key}/mirror/${volume}`, 0));
    });
    // What the journal refuses now it may take later.
    void dropped.catch(() => undefined).finally(() => (this.#isDropping = false));
  }

  #repair(): void {
    const journal = this.#journal;
    if (journal === undefined || this.hooks.hasView(this.key) || !(journal.isDead || journal.damage !== undefined)) return;
    this.#journal = undefined;
    this.owner.around.world.touch();
    void journal.close().then(() => {
      if (!this.#isOver) this.#open(true);
    });
  }

  /** Bytes freed; 0 as well when the disk or the process was in the way: nothing is lost then. */
  async thin(checkpointIds: readonly number[]): Promise<number> {
    const journal = this.#journal;
    if (journal === undefined || this.owner.host.isPaused) return 0;
    const pause = (ms: number): Promise<void> => new Promise((resolve) => this.owner.host.after(ms, () => {
      this.owner.around.world.touch();
      resolve();
    }));
    try {
      await journal.thin(checkpointIds);
      const result = await journal.compact({ beforeSeq: Infinity, allow: () => pause(this.owner.around.world.random.below(5)), shouldStop: () => this.#isOver, pause });
      return result.freedBytes;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (typeof code === 'string') return 0; // of the journal or its disk
      throw error;
    }
  }

  async commitEpoch(epoch: number): Promise<void> {
    await this.#journal?.commitEpoch(epoch);
  }

  // ---- streams

  open(reply: Reply, request: OpenRequest): void {
    this.#replies.set(reply.connection, reply);
    this.#step((effects) => this.receiver.open(reply.connection, request, effects));
  }

  frame(connection: number, header: FrameHeader, body: Uint8Array): void {
    const records = decodeRecords(header, decompressBody(header.codec, body, header.rawBytes), this.receiver.volumeSizesBytes);
    this.#body = body;
    this.#step((effects) => this.receiver.frame(connection, header, records, effects));
  }

  hashRequested(connection: number, body: Uint8Array): void {
    const status = this.receiver.status();
    if (connection === status.connection && status.state === 'open') this.#hash(connection, decodeHashRequest(body, this.receiver.volumeSizesBytes));
  }

  #hash(connection: number, request: HashRequest): void {
    const { host, around } = this.owner;
    host.after(around.world.random.below(HASH_MS_MAX), () => {
      const journal = this.#journal;
      if (this.#isOver || journal === undefined || !this.#replies.has(connection)) return;
      if (journal.stats().durableSeq < request.atSeq) throw new Violation('protocol', `${this.key}: hashes at ${request.atSeq} are asked for, which was not acknowledged`);
      around.world.touch();
      const mirror = around.plant?.flag === 'mirrorHashed' ? this.mirror(request.volume) : undefined;
      void hashReplyOf(journal, request, mirror).then(
        (reply) => {
          const to = this.#replies.get(connection);
          if (!this.#isOver) to?.socket.send(concat(encodeFrame({ kind: FrameKind.hashReply, stream: to.stream }, reply, crc32c)));
        },
        () => this.#sayDifferent(connection, request),
      );
    });
  }

  /** The head cannot be read: its blocks count as different. */
  #sayDifferent(connection: number, { volume, offset, length }: HashRequest): void {
    const to = this.#replies.get(connection);
    if (!this.#isOver) to?.socket.send(concat(encodeFrame({ kind: FrameKind.hashReply, stream: to.stream }, encodeHashReply({ volume, offset, length, hashes: 'unreadable' }), crc32c)));
  }

  connectionLost(connection: number): void {
    this.#replies.delete(connection);
    this.receiver.connectionLost(connection);
  }

  connectionOf(socket: SimSocket, stream: number): number | undefined {
    for (const reply of this.#replies.values()) if (reply.socket === socket && reply.stream === stream) return reply.connection;
    return undefined;
  }

  connectionsOf(socket: SimSocket): number[] {
    return [...this.#replies.values()].filter((reply) => reply.socket === socket).map(({ connection }) => connection);
  }

  #step(act: (effects: ReceiverEffect[]) => void): void {
    if (this.#isOver) return;
    const effects: ReceiverEffect[] = [];
    act(effects);
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: ReceiverEffect): void {
    switch (effect.kind) {
      case 'append': return this.#append(effect);
      case 'sendAck':
        this.hooks.acknowledged(this.key, effect.durableSeq);
        return this.#send(effect.connection, { kind: FrameKind.ack, lastSeq: effect.durableSeq }, encodeAck(effect.creditBytes));
      case 'sendOpened': return this.#send(effect.connection, { kind: FrameKind.opened }, encodeOpened(effect.reply));
      case 'sendRefused':
        this.hooks.refused(this.key, effect.reply);
        return this.#send(effect.connection, { kind: FrameKind.refused }, encodeRefused(effect.reply));
      case 'closeStream': return this.#send(effect.connection, { kind: FrameKind.closeStream }, undefined);
      case 'beginIncarnation': return this.#beginIncarnation(effect);
      default: return unreachable(effect);
    }
  }

  #append({ header, records }: Extract<ReceiverEffect, { kind: 'append' }>): void {
    this.owner.around.world.touch();
    this.#appendingBytes = header.rawBytes;
    try {
      this.#journal?.append(header, this.#body, records);
    } catch (error) {
      throw new Violation('protocol', `the receiver of ${this.key} let a wrong frame through: ${String(error)}`);
    } finally {
      this.#appendingBytes = 0;
    }
    if (this.owner.around.plant?.flag === 'ackedOnArrival') this.#step((more) => this.receiver.durable(header.lastSeq, more));
  }

  #send(connection: number, fields: { kind: FrameKind; lastSeq?: number }, body: Uint8Array | undefined): void {
    const reply = this.#replies.get(connection);
    if (reply === undefined) return;
    reply.socket.send(concat(encodeFrame({ ...fields, stream: reply.stream }, body === undefined ? [] : [body], crc32c)));
    if (fields.kind === FrameKind.refused || fields.kind === FrameKind.closeStream) this.#replies.delete(connection);
  }

  #journalVolumes(volumeBytes: readonly number[]): JournalVolume[] {
    return volumeBytes.map((sizeBytes, volume) => ({ sizeBytes, mirror: this.mirror(volume) }));
  }

  /** Their mirrors first; then a stream may open with these volumes, which brings them into force. */
  changeVolumes(volumeBytes: readonly number[]): void {
    volumeBytes.forEach((bytes, volume) => {
      if (volume < this.#mirrors.length) this.mirror(volume).file.grow(bytes);
      else this.#mirrors.push(new SimMirror(this.owner, this.owner.disk.ensure(`${this.key}/mirror/${volume}`, bytes)));
    });
    this.#told = volumeBytes;
    this.receiver.offerVolumes(volumeBytes);
  }

  async #withVolumes(sizesBytes: readonly number[], journal: JournalFile): Promise<void> {
    const isInForce = journal.volumes.length === sizesBytes.length && journal.volumes.every(({ sizeBytes }, volume) => sizesBytes[volume] === sizeBytes);
    if (!isInForce) await journal.changeVolumes(this.#journalVolumes(this.#told));
  }

  async #begun(journal: JournalFile | undefined, { sessionId, epoch, volumeSizesBytes }: Extract<ReceiverEffect, { kind: 'beginIncarnation' }>): ReturnType<JournalFile['beginIncarnation']> {
    if (journal === undefined) throw new Error('the journal is not open');
    await this.#withVolumes(volumeSizesBytes, journal);
    return await journal.beginIncarnation({ sessionId, epoch });
  }

  #beginIncarnation(effect: Extract<ReceiverEffect, { kind: 'beginIncarnation' }>): void {
    const { openId } = effect;
    const { world } = this.owner.around;
    world.touch();
    const answered = (result: Parameters<Receiver['incarnationBegan']>[0]): void => {
      world.touch();
      this.#step((effects) => this.receiver.incarnationBegan(result, effects));
    };
    void this.#begun(this.#journal, effect).then(
      (begun) => answered({ openId, isBegun: true, ...begun }),
      (error: unknown) => answered({ openId, isBegun: false, message: String(error) }),
    );
  }
}
