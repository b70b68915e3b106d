import { JournalFile, decompressBody } from '@tidemark/journal-file';
import { JournalError, type JournalState } from '@tidemark/journal';
import { crc32c } from '@tidemark/link';
import type { Plant } from '../plants.js';
import { simFiles, SimMirror, type HostDisk } from '../sim-files.js';
import type { SimDisk } from '../disk.js';
import { Violation, type World } from '../world.js';
import { ONE_JOURNAL, type ModelFrame, type StreamModel } from './stream-model.js';
import type { Truth } from './truth.js';

export interface ProcessParts {
  readonly world: World;
  readonly disk: SimDisk;
  readonly model: StreamModel;
  readonly truth: Truth;
  readonly segmentBytes: number;
  readonly isThinned: boolean;
  readonly plant: Plant | undefined;
}

export const FOLDER = 'vpg1/vm1/journal';
const SESSION = 'session';
const REOPEN_MS = 3;
const EPOCH = 1;

/** One process with one journal: opens it, takes a stream, drops old checkpoints, reserves epochs, reads images; dies at any time and begins again. */
export class JournalProcess {
  isAlive = false;
  readonly isPaused = false;
  life = 0;
  /** Nothing more is to go wrong: writes go on until everything is whole. */
  isWhole = false;
  #isStreamOpen = false;
  #isLossSaid = false;
  #nextEpoch = EPOCH + 1;

  constructor(private readonly parts: ProcessParts) {}

  get wallMs(): number {
    return this.parts.world.nowMs;
  }

  ageNowMs(): number {
    return this.parts.world.nowMs;
  }

  after(delayMs: number, run: () => void): void {
    const { life } = this;
    this.parts.world.after(delayMs, () => {
      if (this.isAlive && this.life === life) run();
    });
  }

  start(): void {
    if (this.isAlive) return;
    this.isAlive = true;
    this.life += 1;
    const { life } = this;
    this.parts.world.touch();
    void this.#live(() => this.isAlive && this.life === life).catch((error: unknown) => this.parts.world.fail(error instanceof Error ? error : new Error(String(error))));
  }

  kill(isPowerLoss: boolean): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#isStreamOpen = false;
    const { disk } = this.parts;
    if (isPowerLoss) disk.losePower(this.parts.world.random);
  }

  async #live(isOn: () => boolean): Promise<void> {
    const { random } = this.parts.world;
    let journal = await this.#open(false, isOn);
    while (isOn()) {
      if (journal === undefined || journal.isDead || journal.damage !== undefined) {
        await this.#pause(REOPEN_MS);
        await journal?.close();
        journal = await this.#open(true, isOn);
      } else {
        await this.#act(journal);
        await this.#pause(random.below(4));
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, () => {
      this.parts.world.touch();
      resolve();
    }));
  }

  /** undefined: the disk did not let it. */
  async #open(isIndexDistrusted: boolean, isOn: () => boolean): Promise<JournalFile | undefined> {
    const { world, truth } = this.parts;
    this.#isStreamOpen = false;
    this.#isLossSaid = false;
    let journal: JournalFile;
    try {
      journal = await JournalFile.open(this.#options(isIndexDistrusted, isOn));
    } catch (error) {
      if (isOfDisk(error)) return undefined;
      throw error;
    }
    if (!isOn()) return undefined;
    truth.opened(journal, this.#isLossSaid || journal.stats().state.phase === 'broken');
    if (world.random.chance(0.5)) await truth.checkImages(journal);
    return journal;
  }

  #options(isIndexDistrusted: boolean, isOn: () => boolean): Parameters<typeof JournalFile.open>[0] {
    const { world, disk, model, segmentBytes, plant } = this.parts;
    const owner: HostDisk = { host: this, around: { world, plant }, disk };
    return {
      folder: FOLDER, identity: ONE_JOURNAL, epoch: EPOCH, segmentBytes, crc32c, isIndexDistrusted, cacheBytesMax: 64 * 1024, decompress: decompressBody,
      volumes: model.disks.map(({ byteLength }, volume) => ({ sizeBytes: byteLength, mirror: new SimMirror(owner, disk.ensure(`vpg1/vm1/mirror/${volume}`, byteLength)) })),
      clocks: { monotonicMs: () => world.nowMs, wallClockMs: () => world.nowMs },
      files: simFiles(owner),
      onDurable: (seq) => {
        if (isOn()) model.acknowledged(seq);
      },
      onCheckpointsChanged: () => undefined,
      onState: (state) => {
        if (isOn()) this.#stateChanged(state);
      },
    };
  }

  #stateChanged({ phase }: JournalState): void {
    if (phase === 'broken') this.#isLossSaid = true;
    if (phase !== 'open') this.#isStreamOpen = false;
  }

  async #act(journal: JournalFile): Promise<void> {
    const { random } = this.parts.world;
    const { phase } = journal.stats().state;
    if (phase === 'full') journal.resume();
    if (phase !== 'open') return;
    this.parts.truth.look(journal);
    try {
      if (!this.#isStreamOpen) await this.#openStream(journal);
      else await random.pick([this.#write, this.#write, this.#write, this.#retire, this.#thin, this.#epoch, this.#look, this.#scrub]).call(this, journal);
    } catch (error) {
      // A request that the journal could not carry out; it says so by its state.
      if (!(error instanceof JournalError) || error.code === 'JOURNAL_FENCED' || error.code === 'JOURNAL_ORDER') throw error;
    }
  }

  async #openStream(journal: JournalFile): Promise<void> {
    const begun = await journal.beginIncarnation({ sessionId: SESSION, epoch: EPOCH });
    this.#isStreamOpen = true;
    for (const frame of this.parts.model.opened(begun, SESSION)) {
      if (!this.#send(journal, frame)) return;
      if (this.parts.world.random.chance(0.3)) await this.#pause(0.3);
    }
  }

  #send(journal: JournalFile, { header, body, records }: ModelFrame): boolean {
    if (this.#isStreamOpen) journal.append(header, body, records);
    return this.#isStreamOpen;
  }

  async #write(journal: JournalFile): Promise<void> {
    for (let burst = 1 + this.parts.world.random.int(4); burst > 0; burst -= 1) {
      for (const frame of this.parts.model.next()) this.#send(journal, frame);
      await this.#pause(this.parts.world.random.below(0.5));
      if (!this.#isStreamOpen) return;
    }
  }

  /** This journal is all of its VPG: what is retired here may be applied. */
  async #retire(journal: JournalFile): Promise<void> {
    const held = journal.checkpoints().map(({ checkpointId }) => checkpointId);
    const oldest = held[this.parts.world.random.int(Math.max(1, held.length))];
    if (oldest === undefined) return;
    this.parts.truth.dropped(held.filter((checkpointId) => checkpointId < oldest));
    if (oldest % 2 === 0) journal.freeCutOff(Infinity);
    await journal.retire(oldest);
    await journal.allowApply(oldest);
  }

  async #thin(journal: JournalFile): Promise<void> {
    const { world, truth, isThinned } = this.parts;
    if (!isThinned) return;
    const inner = journal.checkpoints().map(({ checkpointId }) => checkpointId).slice(1, -1).filter(() => world.random.chance(0.5));
    truth.dropped(inner);
    await journal.thin(inner);
    const pause = (ms: number): Promise<void> => this.#pause(ms);
    await journal.compact({ beforeSeq: Infinity, allow: () => pause(world.random.below(1)), shouldStop: () => false, pause }).catch((error: unknown) => {
      if (!isOfDisk(error)) throw error;
    });
  }

  async #epoch(journal: JournalFile): Promise<void> {
    const { truth } = this.parts;
    const burned = truth.someBurned;
    if (burned !== undefined && this.parts.world.random.chance(0.5)) {
      const isTaken = await journal.reserveEpoch(burned).then(() => true, () => false);
      if (isTaken) throw new Violation('ownership', `epoch ${burned} was burned, and could be reserved again`);
      return;
    }
    const epoch = this.#nextEpoch;
    this.#nextEpoch += 1;
    await journal.reserveEpoch(epoch);
    await journal.burnEpoch(epoch);
    truth.burned(epoch);
  }

  async #look(journal: JournalFile): Promise<void> {
    const { model, truth } = this.parts;
    await truth.checkImages(journal);
    const { durableSeq, isSyncing } = journal.stats();
    if (this.#isStreamOpen && durableSeq === model.lastSeq && !isSyncing) await truth.checkHead(journal);
  }

  /** As the scrubber of a VRA: what reads back wrong is not believed any more. */
  async #scrub(journal: JournalFile): Promise<void> {
    const { segment } = this.parts.world.random.pick(journal.segments);
    const check = await journal.verifySegment(segment);
    if (check?.isWhole === false) journal.distrust(check);
  }
}

function isOfDisk(error: unknown): boolean {
  const code = (error as { readonly code?: unknown } | undefined)?.code;
  return error instanceof JournalError ? error.code !== 'JOURNAL_ORDER' : typeof code === 'string' && /^E[A-Z]+$/.test(code);
}
