import type { TermVote } from '@tidemark/checkpoint';
import { StateFile } from './state-file.js';

/** The barrier votes of this VRA, per VPG: durable before a term is obeyed, so that no term ever has two leaders. */
export class VoteStore {
  readonly #file: StateFile<Record<string, TermVote>>;
  #votes: Record<string, TermVote> = {};
  #saved: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.#file = new StateFile(path, 'leaders of checkpoints are then chosen anew, with numbers above what the journals hold');
  }

  async load(): Promise<void> {
    this.#votes = (await this.#file.load()) ?? {};
  }

  of(vpgId: string): TermVote | null {
    return this.#votes[vpgId] ?? null;
  }

  async save(vpgId: string, vote: TermVote): Promise<void> {
    this.#votes = { ...this.#votes, [vpgId]: vote };
    const saved = this.#file.save(this.#votes);
    this.#saved = Promise.allSettled([this.#saved, saved]);
    await saved;
  }

  /** Nothing is being written when it resolves. */
  async settled(): Promise<void> {
    await this.#saved;
  }
}
