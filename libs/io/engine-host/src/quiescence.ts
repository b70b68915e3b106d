import { randomUUID } from 'node:crypto';
import { EngineError } from './engine-error.js';
import type { FrozenGuest, GuestAgents } from './guest-agent.js';
import { quiesceMessage, type QuiesceMessage } from './quiesce-message.js';
import type { Logger } from './types.js';

/** How long applications may take to flush. */
const FREEZE_TIMEOUT_MS = 5000;
/** Nothing stays frozen longer, whoever dies: each guest, and each VRA for its own guests, counts for itself. */
const HOLD_MS_MAX = 10_000;

export interface QuiescenceSurroundings {
  readonly selfVraId: string;
  readonly log: Logger;
  /** undefined: no guest of this host has an agent. */
  readonly agents: GuestAgents | undefined;
  send(vraId: string, message: QuiesceMessage): void;
  isPeerUp(vraId: string): boolean;
  /** VMs of the VPG that this VRA protects. */
  ownVmIds(vpgId: string): readonly string[];
}

interface Freeze {
  readonly leaderVraId: string;
  readonly requestId: string;
  readonly guests: Map<string, FrozenGuest>;
  readonly timer: NodeJS.Timeout;
  isOver: boolean;
}

interface Asked {
  readonly requestId: string;
  readonly vraId: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const failure = (reason: string): EngineError => new EngineError('CHECKPOINT_FREEZE', reason);

/**
 * Guests of a VPG frozen around one checkpoint. Each VRA answers for its own guests: it puts the marker only while all of them are frozen, and
 * the seal only if they still were, without a break, after the marker stood. So no word of the leader, and no clock, is trusted for it.
 */
export class Quiescence {
  /** By VPG: what is frozen here. */
  readonly #freezes = new Map<string, Freeze>();
  /** By VPG: the guests that were frozen when the newest such marker was put. */
  readonly #marked = new Map<string, { readonly checkpointId: number; readonly guests: ReadonlyMap<string, FrozenGuest> }>();
  readonly #asked = new Set<Asked>();
  readonly #leading = new Set<string>();

  constructor(private readonly around: QuiescenceSurroundings) {}

  /** Runs `make` while every VM of the VPG is frozen; thaws whatever happens. CHECKPOINT_FREEZE: nothing was made. */
  async during<T>(vpgId: string, vraIds: readonly string[], make: () => Promise<T>): Promise<T> {
    if (this.#leading.has(vpgId)) throw failure('another application-consistent checkpoint of this VPG is under way');
    this.#leading.add(vpgId);
    const requestId = randomUUID();
    const { selfVraId } = this.around;
    try {
      await Promise.all(vraIds.map((vraId) => (vraId === selfVraId ? this.#freeze(vpgId, requestId, selfVraId) : this.#ask(vpgId, requestId, vraId))));
      return await make();
    } finally {
      for (const vraId of vraIds) if (vraId !== selfVraId) this.around.send(vraId, quiesceMessage({ vpgId, requestId, kind: 'thaw', reason: '' }));
      this.#thaw(vpgId, requestId);
      this.#leading.delete(vpgId);
    }
  }

  /** Why a marker must not say that these VMs are frozen; undefined: they are, and it is remembered for {@link confirm}. */
  markRefusal(vpgId: string, checkpointId: number, vmIds: readonly string[]): string | undefined {
    const guests = this.#freezes.get(vpgId)?.guests;
    const missing = vmIds.find((vmId) => guests?.has(vmId) !== true);
    if (missing !== undefined) return `VM ${missing} is not frozen`;
    this.#marked.set(vpgId, { checkpointId, guests: new Map(guests) });
    return undefined;
  }

  /** Why a checkpoint must not be sealed after its marker was put among frozen guests; also undefined when it was no such checkpoint. */
  async confirm(vpgId: string, checkpointId: number): Promise<string | undefined> {
    const marked = this.#marked.get(vpgId);
    if (marked?.checkpointId !== checkpointId) return undefined;
    this.#marked.delete(vpgId);
    const answers = await Promise.all([...marked.guests].map(async ([vmId, guest]) => ((await guest.isStillFrozen()) ? undefined : vmId)));
    const thawed = answers.find((vmId) => vmId !== undefined);
    return thawed === undefined ? undefined : `VM ${thawed} thawed before the checkpoint stood`;
  }

  message(fromVraId: string, { vpgId, requestId, kind, reason }: QuiesceMessage): void {
    if (kind === 'thaw') return this.#thaw(vpgId, requestId, fromVraId);
    if (kind === 'freeze') {
      const answer = (answerKind: 'frozen' | 'unfrozen', why: string): void => this.around.send(fromVraId, quiesceMessage({ vpgId, requestId, kind: answerKind, reason: why }));
      void this.#freeze(vpgId, requestId, fromVraId).then(() => answer('frozen', ''), (error: unknown) => answer('unfrozen', error instanceof Error ? error.message : String(error)));
      return;
    }
    for (const asked of this.#asked) {
      if (asked.requestId !== requestId || asked.vraId !== fromVraId) continue;
      if (kind === 'frozen') asked.resolve();
      else asked.reject(failure(reason));
    }
  }

  /** A leader that is gone may never say thaw. */
  peerLost(vraId: string): void {
    for (const [vpgId, freeze] of this.#freezes) if (freeze.leaderVraId === vraId) this.#thaw(vpgId, freeze.requestId);
    for (const asked of this.#asked) if (asked.vraId === vraId) asked.reject(failure(`VRA ${vraId} is out of reach`));
  }

  async #ask(vpgId: string, requestId: string, vraId: string): Promise<void> {
    if (!this.around.isPeerUp(vraId)) throw failure(`VRA ${vraId} is out of reach`);
    let asked: Asked | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        asked = { requestId, vraId, resolve, reject };
        this.#asked.add(asked);
        timer = setTimeout(() => reject(failure(`VRA ${vraId} did not freeze its VMs in time`)), FREEZE_TIMEOUT_MS + 1000);
        this.around.send(vraId, quiesceMessage({ vpgId, requestId, kind: 'freeze', reason: '' }));
      });
    } finally {
      clearTimeout(timer);
      if (asked) this.#asked.delete(asked);
    }
  }

  async #freeze(vpgId: string, requestId: string, leaderVraId: string): Promise<void> {
    const { agents } = this.around;
    const vmIds = this.around.ownVmIds(vpgId);
    if (agents === undefined && vmIds.length > 0) throw failure(`VMs of VRA ${this.around.selfVraId} have no guest agent`);
    if (this.#freezes.has(vpgId)) throw failure('the VMs are frozen for another request');
    const timer = setTimeout(() => {
      this.around.log.warn({ vpgId, requestId }, 'guests were frozen for too long and are thawed');
      this.#thaw(vpgId, requestId);
    }, HOLD_MS_MAX);
    const freeze: Freeze = { leaderVraId, requestId, guests: new Map(), timer, isOver: false };
    this.#freezes.set(vpgId, freeze);
    try {
      await Promise.all(vmIds.map((vmId) => this.#freezeGuest(agents, vmId, freeze)));
    } catch (error) {
      this.#thaw(vpgId, requestId);
      throw error;
    }
  }

  async #freezeGuest(agents: GuestAgents | undefined, vmId: string, freeze: Freeze): Promise<void> {
    const guest = await agents?.freeze(vmId, { holdMsMax: HOLD_MS_MAX, timeoutMs: FREEZE_TIMEOUT_MS });
    if (!guest) return;
    if (!freeze.isOver) {
      freeze.guests.set(vmId, guest);
      return;
    }
    void guest.thaw();
    throw failure(`VM ${vmId} froze too late`);
  }

  #thaw(vpgId: string, requestId: string, byVraId?: string): void {
    const freeze = this.#freezes.get(vpgId);
    if (freeze?.requestId !== requestId || (byVraId !== undefined && freeze.leaderVraId !== byVraId)) return;
    freeze.isOver = true;
    clearTimeout(freeze.timer);
    this.#freezes.delete(vpgId);
    for (const guest of freeze.guests.values()) void guest.thaw();
  }

  close(): void {
    for (const [vpgId, { requestId }] of this.#freezes) this.#thaw(vpgId, requestId);
    for (const asked of this.#asked) asked.reject(failure('this VRA is being stopped'));
  }
}
