import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { claimVerdict, isMoved, isTakenOver, letGo, type JournalOwnership } from '@tidemark/journal';
import { EngineError } from './engine-error.js';
import { StateFile } from './state-file.js';
import type { RecoverySpec } from './types.js';

const SEGMENT = /\.segment$/;

export const moveNumberOf = ({ moveNumber }: Pick<RecoverySpec, 'moveNumber'>): number => moveNumber ?? 0;

const ownerFile = (folder: string): StateFile<JournalOwnership> => new StateFile(
  join(folder, 'owner.json'), 'this journal then belongs to nobody. One that was never moved is opened again. One that was moved is not, until the operator says that the host of every other VRA that had it is down; be sure of that, two writers destroy it',
);

/**
 * Which VRA a journal and its mirrors belong to, in `owner.json` beside the segments: the files say it themselves, so a VRA that slept through a move, or
 * lost its own state, does not take up what another one writes. The move with the higher number wins.
 */
export class JournalOwner {
  #isTakenOver = false;

  private constructor(
    private readonly spec: RecoverySpec,
    private readonly vraId: string,
    private readonly owner: JournalOwnership | undefined,
  ) {}

  /**
   * Changes nothing. Throws VRA_MOVED when the files belong to another VRA, VRA_NOTHING_THERE when they were to be taken over and are not to be seen,
   * VRA_NOT_RELEASED when the one that they belong to has not let go, unless the operator says that its host is down.
   */
  static async look(spec: RecoverySpec, vraId: string): Promise<JournalOwner> {
    const found = await ownerFile(spec.journalFolder).load();
    const owner = new JournalOwner(spec, vraId, found);
    const own = moveNumberOf(spec);
    const verdict = claimVerdict(found, { vraId, moveNumber: own, isOldHostDown: spec.isOldHostDown === true });
    if (found && verdict === 'moved') throw movedError(spec, found);
    if (own > 0 && !(await hasSegments(spec.journalFolder))) {
      throw new EngineError('VRA_NOTHING_THERE', `there is no journal in ${spec.journalFolder} to be taken over: does this host see the datastore? Nothing is copied to another one; protect the VM anew there, with its old recovery volumes as preseed, when it cannot be attached here`);
    }
    if (verdict === 'notReleased') {
      throw new EngineError('VRA_NOT_RELEASED', `${spec.journalFolder} belongs to ${found ? `VRA ${found.vraId}` : 'a VRA that has not left its name'}, which has not let go of it: two VRAs that write one journal destroy it. Start that VRA, or power its host off and say so (the host is down)`);
    }
    return owner;
  }

  /** Why this VRA must stop writing at once; undefined: the files are still its own. Throws when they cannot be asked. */
  static async movedFrom(spec: RecoverySpec, vraId: string): Promise<EngineError | undefined> {
    const found = await ownerFile(spec.journalFolder).load();
    return found && isMoved(found, { vraId, moveNumber: moveNumberOf(spec) }) ? movedError(spec, found) : undefined;
  }

  /** Reading a journal takes longer than another VRA waits that has seized it: once more before anything is changed. Throws VRA_MOVED, and what the file system says. */
  static async assertOwned(spec: RecoverySpec, vraId: string): Promise<void> {
    const moved = await JournalOwner.movedFrom(spec, vraId);
    if (moved) throw moved;
  }

  /** All files are closed here and stay so: written down for the VRA that comes with this number. Durable when it resolves; nothing if they are not this VRA's (any more). */
  static async letGo(journalFolder: string, { vraId, moveNumber }: { readonly vraId: string; readonly moveNumber: number }): Promise<void> {
    const file = ownerFile(journalFolder);
    const released = letGo(await file.load(), { vraId, moveNumber });
    if (released) await file.save(released);
  }

  /** Nobody has had a journal here before. */
  get isNew(): boolean {
    return this.owner === undefined && moveNumberOf(this.spec) === 0;
  }

  /** Journal and mirrors come from another VRA, or back to this one: they are there, and whatever is missing is lost, not new. */
  get isTakingOver(): boolean {
    return isTakenOver(this.owner, { vraId: this.vraId, moveNumber: moveNumberOf(this.spec) });
  }

  /** Whoever had the files has said that they are closed. */
  get isReleased(): boolean {
    return typeof this.owner?.releasedTo === 'number';
  }

  /** Durable when it resolves. To be called with the mirrors locked and before the journal is opened: nobody else has it open then. */
  async claim(): Promise<void> {
    const wanted: JournalOwnership = { vraId: this.vraId, moveNumber: moveNumberOf(this.spec), releasedTo: null };
    if (this.#isTakenOver || (!this.isReleased && this.owner?.vraId === wanted.vraId && this.owner.moveNumber === wanted.moveNumber)) return;
    await ownerFile(this.spec.journalFolder).save(wanted);
    this.#isTakenOver = true;
  }
}

const movedError = ({ journalFolder, moveNumber }: RecoverySpec, { vraId, moveNumber: theirs, releasedTo }: JournalOwnership): EngineError => new EngineError(
  'VRA_MOVED',
  `${journalFolder} ${releasedTo === null ? `belongs to VRA ${vraId} since move ${String(theirs)}` : `was released by VRA ${vraId} for move ${String(releasedTo)}`}; this is move ${String(moveNumber ?? 0)}`,
);

async function hasSegments(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).some((name) => SEGMENT.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
