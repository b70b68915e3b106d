import { unreachable } from '@tidemark/base';
import {
  Retirement, type AgedCheckpoint, type RetirementConfig, type RetirementEffect, type RetirementEvent, type RetirementMessage,
} from '@tidemark/checkpoint';
import type { Logger } from './types.js';

/** What the retirement of one VPG needs of the journals of this VRA. */
export interface RetirementSurroundings {
  readonly selfVraId: string;
  readonly log: Logger;
  send(vraId: string, message: RetirementMessage): void;
  isPeerUp(vraId: string): boolean;
  /** undefined: each VM's journal holds this checkpoint, and no view, failover or backup here needs one up to it. */
  pinnedReason(checkpointId: number, vmIds: readonly string[]): string | undefined;
  /** Durable in the journal of each VM when it resolves. */
  makeRetired(checkpointId: number, vmIds: readonly string[]): Promise<void>;
  /** May take long: the mirrors roll forward. */
  allowApply(checkpointId: number, vmIds: readonly string[]): Promise<void>;
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

/** One VPG's retirement engine with real time, journals and connections around it. */
export class RetirementHost {
  readonly #engine: Retirement;
  readonly #events: Untimed<RetirementEvent>[] = [];
  #config: RetirementConfig;
  #isStepping = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    config: RetirementConfig,
    retiredId: number,
    private readonly around: RetirementSurroundings,
  ) {
    this.#config = config;
    this.#engine = new Retirement({ selfVraId: around.selfVraId, retiredId });
    this.configure(config);
  }

  get config(): RetirementConfig {
    return this.#config;
  }

  get isLeading(): boolean {
    return this.#config.recoverers[0]?.vraId === this.around.selfVraId;
  }

  /** False while the engine has promised not to: a pin now could need what is about to be retired. */
  canPin(checkpointId: number): boolean {
    return this.#engine.canPin(checkpointId, performance.now());
  }

  configure(config: RetirementConfig): void {
    this.#config = config;
    this.#take({ type: 'configured', config });
    for (const { vraId } of config.recoverers) if (this.around.isPeerUp(vraId)) this.peerUp(vraId);
  }

  peerUp(vraId: string): void {
    this.#take({ type: 'peerUp', vraId });
  }

  peerLost(vraId: string): void {
    this.#take({ type: 'peerLost', vraId });
  }

  message(fromVraId: string, message: RetirementMessage): void {
    this.#take({ type: 'message', fromVraId, message });
  }

  /** What every VM's journal of the VPG holds, with trusted ages; `spaceId`: see the engine's event. Only the leader is asked. */
  listed(checkpoints: readonly AgedCheckpoint[], spaceId: number): void {
    this.#take({ type: 'listed', checkpoints, spaceId });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #take(event: Untimed<RetirementEvent>): void {
    if (this.#isClosed) return;
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        const effects: RetirementEffect[] = [];
        this.#engine.step({ ...next, nowMs: performance.now() }, effects);
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#isStepping = false;
    }
  }

  #carryOut(effect: RetirementEffect): void {
    switch (effect.type) {
      case 'send':
        return this.around.send(effect.vraId, effect.message);
      case 'askPins': {
        const reason = this.around.pinnedReason(effect.checkpointId, effect.vmIds);
        return this.#take({ type: 'pinsAnswered', checkpointId: effect.checkpointId, isFree: reason === undefined, reason: reason ?? '' });
      }
      case 'makeRetired':
        return this.#makeRetired(effect.checkpointId, effect.vmIds);
      case 'allowApply':
        return this.#allowApply(effect.checkpointId, effect.vmIds);
      case 'wakeAt':
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#take({ type: 'tick' }), Math.max(0, effect.atMs - performance.now()));
        return;
      default:
        return unreachable(effect);
    }
  }

  #makeRetired(checkpointId: number, vmIds: readonly string[]): void {
    void this.around.makeRetired(checkpointId, vmIds).then(
      () => this.#take({ type: 'retired', checkpointId, isDurable: true, reason: '' }),
      (error: unknown) => this.#take({ type: 'retired', checkpointId, isDurable: false, reason: String(error) }),
    );
  }

  #allowApply(checkpointId: number, vmIds: readonly string[]): void {
    void this.around.allowApply(checkpointId, vmIds).catch((error: unknown) => {
      this.around.log.error({ vpgId: this.#config.vpgId, checkpointId, error: String(error) }, 'cannot apply to the mirror');
    });
  }
}
