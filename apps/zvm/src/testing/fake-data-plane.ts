import type { ReplicationState } from '@tidemark/contracts';
import { type FakeRecovery, FakeVra, type FakeVraOptions } from './fake-vra.js';

const CHECKPOINT_MS = 300;

/** Every fake VRA of a test: carries checkpoints from those that protect to those that recover, as long as it is not paused. */
export class FakeDataPlane {
  readonly vras = new Map<string, FakeVra>();
  /** Journals that no VRA has open, by protection. */
  readonly released = new Map<string, FakeRecovery>();
  /** No new checkpoints while true. */
  isPaused = false;
  #lastId = 100;
  readonly #timer = setInterval(() => this.#tick(), CHECKPOINT_MS);

  vra(options: FakeVraOptions): FakeVra {
    const vra = this.vras.get(options.vraId) ?? new FakeVra(options, this);
    this.vras.set(options.vraId, vra);
    return vra;
  }

  /** Journals are on the datastore: the VRA that had this one, if it ever comes back, finds out. */
  seized(key: string): FakeRecovery | undefined {
    const old = [...this.vras.values()].find((vra) => vra.recoveries.has(key));
    const recovery = old?.recoveries.get(key);
    old?.recoveries.delete(key);
    return recovery;
  }

  streamState(vpgId: string): ReplicationState {
    return this.#holders(vpgId).length > 0 ? 'replicating' : 'connecting';
  }

  #tick(): void {
    if (this.isPaused) return;
    const vpgIds = new Set([...this.vras.values()].flatMap((vra) => vra.state.barriers.map((barrier) => barrier.vpgId)));
    for (const vpgId of vpgIds) this.insert(vpgId, null);
  }

  insert(vpgId: string, tag: string | null): number {
    this.#lastId += 1;
    const barrier = [...this.vras.values()].flatMap((vra) => vra.state.barriers).find((candidate) => candidate.vpgId === vpgId);
    if (!barrier) return this.#lastId;
    const vmIds = barrier.members.flatMap((member) => member.vmIds);
    for (const recovery of this.#holders(vpgId)) {
      if (!vmIds.includes(recovery.spec.vmId)) continue;
      recovery.held.push({
        checkpointId: this.#lastId, epoch: barrier.epoch, term: 1, vmIds, atMs: Date.now(), ageMs: 0, tag, kind: tag === null ? 'automatic' : 'tagged',
        arrivedMs: performance.now(),
      });
      recovery.lastChange += 1;
    }
    return this.#lastId;
  }

  #holders(vpgId: string) {
    return [...this.vras.values()].flatMap((vra) => [...vra.recoveries.values()]).filter((recovery) => recovery.spec.vpgId === vpgId);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.vras.values()].map((vra) => vra.silence()));
  }
}
