import { JournalError } from '@tidemark/journal';
import type { JournalFile } from '@tidemark/journal-file';
import type { Random } from '../random.js';
import { Violation } from '../world.js';
import type { StreamModel } from './stream-model.js';

const IMAGES_MAX = 4;

/** A bound on what may be read at once: a view read of a whole disk. */
interface Disks {
  readonly volumes: readonly { read(offset: number, target: Uint8Array): void | Promise<void> }[];
}

/** What was told of one journal: whatever was acknowledged is shown, or its loss has been said; and nothing wrong is shown. */
export class Truth {
  /** Checkpoints that were listed, and nobody has dropped. */
  readonly listed = new Set<number>();
  /** Numbers that must never be in force or reserved again. */
  readonly #dropped = new Set<number>();
  readonly #burned = new Set<number>();
  /** Bits have turned: a read may be refused. */
  isRotted = false;
  openings = 0;
  lossesSaid = 0;
  imagesRead = 0;
  readsRefused = 0;

  constructor(private readonly model: StreamModel, private readonly random: Random) {}

  /** `isLossSaid`: the journal was broken while it was opened, or is. */
  opened(journal: JournalFile, isLossSaid: boolean): void {
    this.openings += 1;
    const { durableSeq, epoch, reservedEpoch } = journal.stats();
    if (isLossSaid) this.#lossSaid(journal);
    if (durableSeq < this.model.ackedSeq) throw new Violation('lost', `acknowledged up to ${this.model.ackedSeq}, opened with ${durableSeq}, and the journal says nothing of a loss`);
    for (const checkpointId of this.listed) if (!journal.holds(checkpointId)) throw new Violation('gone', `checkpoint ${checkpointId} was listed and is gone, and the journal says nothing of a loss`);
    for (const burned of this.#burned) if (burned === epoch || burned === reservedEpoch) throw new Violation('ownership', `epoch ${burned} was burned and is in use`);
  }

  #lossSaid(journal: JournalFile): void {
    const isLost = journal.stats().durableSeq < this.model.ackedSeq || [...this.listed].some((checkpointId) => !journal.holds(checkpointId));
    if (isLost && !this.isRotted) throw new Violation('gone', `a loss is said, and no bit has turned: acknowledged up to ${this.model.ackedSeq}, opened with ${journal.stats().durableSeq}`);
    this.lossesSaid += 1;
    this.model.ackedSeq = Math.min(this.model.ackedSeq, journal.stats().durableSeq);
    for (const checkpointId of this.listed) if (!journal.holds(checkpointId)) this.listed.delete(checkpointId);
  }

  look(journal: JournalFile): void {
    for (const { checkpointId } of journal.checkpoints()) if (!this.#dropped.has(checkpointId)) this.listed.add(checkpointId);
  }

  /** From now on they may be there or not: where the disk fails nobody knows whether the record that drops them is durable. */
  dropped(checkpointIds: readonly number[]): void {
    for (const checkpointId of checkpointIds) {
      this.#dropped.add(checkpointId);
      this.listed.delete(checkpointId);
    }
  }

  burned(epoch: number): void {
    this.#burned.add(epoch);
  }

  /** Tried now and then: nobody may have it any more. */
  get someBurned(): number | undefined {
    return this.#burned.size === 0 ? undefined : this.random.pick([...this.#burned]);
  }

  /** The oldest, the newest and some others, through views, as a failover would see them. */
  async checkImages(journal: JournalFile): Promise<void> {
    const held = journal.checkpoints().map(({ checkpointId }) => checkpointId);
    const some = [held[0], held.at(-1), ...Array.from({ length: IMAGES_MAX - 2 }, () => held[this.random.int(Math.max(1, held.length))])];
    for (const checkpointId of new Set(some)) if (checkpointId !== undefined && journal.holds(checkpointId)) await this.#checkImage(journal, checkpointId);
  }

  async #checkImage(journal: JournalFile, checkpointId: number): Promise<void> {
    const expected = this.model.images.get(checkpointId);
    if (expected === undefined) throw new Violation('image', `checkpoint ${checkpointId} is held, and nobody marked it`);
    await this.#compare(() => journal.openView({ checkpointId }), expected, `checkpoint ${checkpointId}`);
  }

  /** With nothing under way: what was sent is what is there. */
  async checkHead(journal: JournalFile): Promise<void> {
    await this.#compare(() => journal.openHead(), this.model.disks.map((disk) => disk.slice()), 'the head');
  }

  async #compare(open: () => Promise<Disks & { close(): Promise<void> }>, expected: readonly Uint8Array[], what: string): Promise<void> {
    const view = await open().catch((error: unknown) => {
      if (!this.isRotted || !(error instanceof JournalError)) throw error;
      return undefined;
    });
    if (view === undefined) return void (this.readsRefused += 1);
    try {
      for (const [volume, image] of expected.entries()) {
        const found = new Uint8Array(image.byteLength);
        if (!(await this.#read(view, volume, found))) return;
        this.imagesRead += 1;
        const at = found.findIndex((byte, index) => byte !== image[index]);
        if (at >= 0) throw new Violation('image', `${what}: volume ${volume} differs at byte ${at}: ${found[at] ?? 0} instead of ${image[at] ?? 0}`);
      }
    } finally {
      await view.close();
    }
  }

  /** False: the read was refused, as it must be where a bit has turned. */
  async #read({ volumes }: Disks, volume: number, target: Uint8Array): Promise<boolean> {
    try {
      await volumes[volume]?.read(0, target);
      return true;
    } catch (error) {
      if (!this.isRotted) throw new Violation('view', `a read is refused, and nothing is wrong on the medium: ${String(error)}`);
      this.readsRefused += 1;
      return false;
    }
  }
}
