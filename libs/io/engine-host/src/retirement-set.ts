import type { RetirementMessage } from '@tidemark/checkpoint';
import type { CheckpointPin } from './checkpoint-pins.js';
import type { RecoveryHost } from './recovery-host.js';
import { RetirementHost } from './retirement-host.js';
import type { Logger, ProtectionRef, RecoverySpec, ViewSpec } from './types.js';

export interface RetirementSetSurroundings {
  readonly selfVraId: string;
  readonly log: Logger;
  send(vraId: string, message: RetirementMessage): void;
  isPeerUp(vraId: string): boolean;
  recoveryOf(ref: ProtectionRef): RecoveryHost | undefined;
  viewsOf(vpgId: string): readonly ViewSpec[];
  pinsOf(vpgId: string): readonly CheckpointPin[];
}

/** The retirement of each VPG that is recovered here. */
export class RetirementSet {
  readonly #hosts = new Map<string, RetirementHost>();

  constructor(private readonly around: RetirementSetSurroundings) {}

  get byVpg(): ReadonlyMap<string, RetirementHost> {
    return this.#hosts;
  }

  of(vpgId: string): RetirementHost | undefined {
    return this.#hosts.get(vpgId);
  }

  forEach(act: (retirement: RetirementHost) => void): void {
    for (const host of this.#hosts.values()) act(host);
  }

  configure(recoveries: readonly RecoveryHost[]): void {
    const byVpg = Map.groupBy(recoveries, ({ spec }) => spec.vpgId);
    for (const [vpgId, host] of this.#hosts) {
      if (byVpg.has(vpgId)) continue;
      host.close();
      this.#hosts.delete(vpgId);
    }
    for (const [vpgId, [recovery]] of byVpg) if (recovery) this.#configure(vpgId, recovery.spec);
  }

  #configure(vpgId: string, spec: RecoverySpec): void {
    const recoverers = spec.recoverers.map(({ vra, vmIds }) => ({ vraId: vra.vraId, vmIds }));
    const config = { vpgId, epoch: spec.epoch, recoverers, historyMs: spec.historyMs };
    const host = this.#hosts.get(vpgId);
    if (host) {
      if (JSON.stringify(host.config) !== JSON.stringify(config)) host.configure(config);
      return;
    }
    const { around } = this;
    this.#hosts.set(
      vpgId,
      new RetirementHost(config, 0, {
        selfVraId: around.selfVraId,
        log: around.log,
        send: (vraId, message) => around.send(vraId, message),
        isPeerUp: (vraId) => around.isPeerUp(vraId),
        pinnedReason: (checkpointId, vmIds) => this.#pinnedReason(vpgId, checkpointId, vmIds),
        makeRetired: async (checkpointId, vmIds) => {
          for (const vmId of vmIds) await this.#recovery({ vpgId, vmId }).journal.retire(checkpointId);
        },
        allowApply: async (checkpointId, vmIds) => {
          for (const vmId of vmIds) await this.#recovery({ vpgId, vmId }).journal.allowApply(checkpointId);
        },
      }),
    );
  }

  #recovery(ref: ProtectionRef): RecoveryHost {
    const recovery = this.around.recoveryOf(ref);
    if (!recovery) throw new Error(`VM ${ref.vmId} of VPG ${ref.vpgId} is not recovered here`);
    return recovery;
  }

  /** A journal that does not hold it would be left without any checkpoint. */
  #pinnedReason(vpgId: string, checkpointId: number, vmIds: readonly string[]): string | undefined {
    const missing = vmIds.find((vmId) => this.around.recoveryOf({ vpgId, vmId })?.journal.holds(checkpointId) !== true);
    if (missing !== undefined) return `the journal of VM ${missing} does not hold checkpoint ${String(checkpointId)}`;
    const view = this.around.viewsOf(vpgId).find((spec) => spec.checkpointId < checkpointId);
    if (view) return `view ${view.viewId} needs checkpoint ${String(view.checkpointId)}`;
    const pin = this.around.pinsOf(vpgId).find((each) => each.checkpointId < checkpointId);
    return pin && `pin '${pin.name}' keeps checkpoint ${String(pin.checkpointId)}`;
  }

  close(): void {
    for (const host of this.#hosts.values()) host.close();
  }
}
