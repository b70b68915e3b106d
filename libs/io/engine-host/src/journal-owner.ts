import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from './engine-error.js';
import { StateFile } from './state-file.js';
import type { RecoverySpec } from './types.js';

interface Owner {
  readonly vraId: string;
  readonly moveNumber: number;
}

const SEGMENT = /\.segment$/;

export const moveNumberOf = ({ moveNumber }: Pick<RecoverySpec, 'moveNumber'>): number => moveNumber ?? 0;

/**
 * Which VRA a journal and its mirrors belong to, in `owner.json` beside the segments: the files say it themselves, so a VRA that slept through a move, or
 * lost its own state, does not take up what another one writes. The move with the higher number wins.
 */
export class JournalOwner {
  readonly #file: StateFile<Owner>;
  #isTakenOver = false;

  private constructor(
    private readonly spec: RecoverySpec,
    private readonly vraId: string,
    private readonly owner: Owner | undefined,
  ) {
    this.#file = new StateFile(join(spec.journalFolder, 'owner.json'));
  }

  /** Throws VRA_MOVED when the files belong to another VRA, VRA_NOTHING_THERE when they were to be taken over and are not to be seen. Changes nothing. */
  static async look(spec: RecoverySpec, vraId: string): Promise<JournalOwner> {
    const found = await new StateFile<Owner>(join(spec.journalFolder, 'owner.json')).load();
    const owner = new JournalOwner(spec, vraId, found);
    const own = moveNumberOf(spec);
    const isOlder = found !== undefined && (found.vraId === vraId ? found.moveNumber > own : found.moveNumber >= own);
    if (isOlder) throw new EngineError('VRA_MOVED', `${spec.journalFolder} belongs to VRA ${found.vraId} since move ${String(found.moveNumber)}; this is move ${String(own)}`);
    if (own > 0 && !(await hasSegments(spec.journalFolder))) {
      throw new EngineError('VRA_NOTHING_THERE', `there is no journal in ${spec.journalFolder} to be taken over: does this host see the datastore?`);
    }
    return owner;
  }

  /** Journal and mirrors come from another VRA: they are there, and whatever is missing is lost, not new. */
  get isTakingOver(): boolean {
    return moveNumberOf(this.spec) > 0 && this.owner?.vraId !== this.vraId;
  }

  /** Durable when it resolves. To be called with the mirrors locked and before the journal is opened: nobody else has it open then. */
  async claim(): Promise<void> {
    const wanted: Owner = { vraId: this.vraId, moveNumber: moveNumberOf(this.spec) };
    if (this.#isTakenOver || (this.owner?.vraId === wanted.vraId && this.owner.moveNumber === wanted.moveNumber)) return;
    await this.#file.save(wanted);
    this.#isTakenOver = true;
  }
}

async function hasSegments(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).some((name) => SEGMENT.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
