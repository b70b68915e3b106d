import { unreachable } from '@tidemark/base';
import type { Plant } from '../plants.js';
import { SimDisk } from '../disk.js';
import { watchRejections } from '../rejections.js';
import { Violation, World } from '../world.js';
import { FOLDER, JournalProcess } from './journal-process.js';
import { StreamModel } from './stream-model.js';
import { Truth } from './truth.js';

export interface OneJournalResult {
  /** undefined: everything held. */
  readonly violation: Error | undefined;
  readonly truth: Truth;
}

const FAULTS = ['kill', 'powerLoss', 'failSync', 'failAppend', 'fullDisk', 'rotSegment', 'rotIndex', 'slowDisk'] as const;
type Fault = (typeof FAULTS)[number];

const MEAN_MS: Readonly<Record<Fault, readonly number[]>> = {
  kill: [8, 30, 120], powerLoss: [15, 60, 200], failSync: [20, 80, 300], failAppend: [40, 200], fullDisk: [40, 150], rotSegment: [10, 40, 150], rotIndex: [20, 100], slowDisk: [100],
};
const SLOW_MS = 10;
const FAULTS_MS = 250;
const SETTLE_MS = 3000;
const SEGMENT_HEADER_BYTES = 1024;

/**
 * One journal and all that can befall its files at once: syncs that fail, torn tails, wrong bits in segments and indexes, a full disk, kills and power losses also
 * while it is being opened, again and again. Whatever was acknowledged is shown at each opening, or its loss is said; nothing wrong is ever shown.
 */
class OneJournalRun {
  readonly #world: World;
  readonly #disk = new SimDisk();
  readonly #model: StreamModel;
  readonly #truth: Truth;
  readonly #process: JournalProcess;
  readonly #latencyMsMax: number;
  #isFaulty = true;

  constructor(seed: number, plant: Plant | undefined) {
    this.#world = new World(seed ^ 0x50221);
    const { random } = this.#world;
    this.#model = new StreamModel(random, [random.pick([8, 16]) * 1024, 4096], 1);
    this.#truth = new Truth(this.#model, random);
    this.#latencyMsMax = random.pick([0.1, 0.5, 2]);
    this.#disk.latencyMsMax = this.#latencyMsMax;
    this.#process = new JournalProcess({
      world: this.#world, disk: this.#disk, model: this.#model, truth: this.#truth, plant, segmentBytes: random.pick([4, 8, 16]) * 1024, isThinned: random.chance(0.3),
    });
  }

  async result(): Promise<OneJournalResult> {
    const ended = watchRejections((error) => this.#world.fail(error));
    try {
      this.#process.start();
      for (const fault of FAULTS) if (this.#world.random.chance(0.6)) this.#schedule(fault, this.#world.random.pick(MEAN_MS[fault]));
      await this.#world.runUntil(FAULTS_MS);
      await this.#settle();
      return { violation: undefined, truth: this.#truth };
    } catch (error) {
      return { violation: error instanceof Error ? error : new Error(String(error)), truth: this.#truth };
    } finally {
      ended();
    }
  }

  #schedule(fault: Fault, meanMs: number): void {
    this.#world.after(-Math.log(1 - this.#world.random.unit()) * meanMs, () => {
      if (!this.#isFaulty) return;
      this.#happen(fault);
      this.#schedule(fault, meanMs);
    });
  }

  #happen(fault: Fault): void {
    const { random } = this.#world;
    const disk = this.#disk;
    switch (fault) {
      case 'kill':
      case 'powerLoss':
        this.#process.kill(fault === 'powerLoss');
        return this.#world.after(random.below(2), () => this.#process.start());
      case 'failSync':
        disk.failingSyncs = 1 + random.int(2);
        return;
      case 'failAppend':
        disk.failingAppends = 1;
        return;
      case 'fullDisk':
        disk.capacityBytes = disk.usedBytes + random.int(8000);
        return this.#world.after(random.below(60), () => (disk.capacityBytes = Infinity));
      case 'slowDisk':
        disk.latencyMsMax = SLOW_MS;
        return this.#world.after(random.below(30), () => (disk.latencyMsMax = this.#latencyMsMax));
      case 'rotSegment': return this.#rot('.segment');
      case 'rotIndex': return this.#rot('.index');
      default: return unreachable(fault);
    }
  }

  /** Of segments only those that a later one vouches for: damage at the very end is like an append that a crash tore. */
  #rot(suffix: string): void {
    const { random } = this.#world;
    const names = this.#disk.namesIn(FOLDER).filter((name) => name.endsWith(suffix));
    const [files, all] = [names.map((name) => this.#disk.files.get(`${FOLDER}/${name}`)).filter((file) => file !== undefined), names.length];
    const last = suffix === '.segment' ? files.findLastIndex(({ sizeBytes }) => sizeBytes > SEGMENT_HEADER_BYTES) : all;
    if (last < 1 && suffix === '.segment') return;
    const file = files[random.int(last)];
    if (file === undefined || file.sizeBytes === 0) return;
    this.#truth.isRotted = true;
    file.rot(random.int(file.sizeBytes));
  }

  /** In peace every journal is opened, takes a stream again, and holds checkpoints made after the last fault. */
  async #settle(): Promise<void> {
    this.#isFaulty = false;
    Object.assign(this.#disk, { capacityBytes: Infinity, failingSyncs: 0, failingAppends: 0, latencyMsMax: this.#latencyMsMax });
    const lastMarked = this.#model.images.size;
    const endMs = this.#world.nowMs + SETTLE_MS;
    while (this.#world.nowMs < endMs) {
      await this.#world.runUntil(this.#world.nowMs + 10);
      if (Math.max(0, ...this.#truth.listed) > lastMarked) return;
    }
    throw new Violation('stuck', `no checkpoint is held ${SETTLE_MS} ms after the last fault`);
  }
}

export async function runOneJournal(seed: number, plant?: Plant): Promise<OneJournalResult> {
  return await new OneJournalRun(seed, plant).result();
}
