import { EngineError } from './engine-error.js';
import type { RecoveringSide } from './recovering-side.js';
import { protectionKey, type BarrierSpec, type DesiredState, type ProtectionRef, type ProtectionSpec } from './types.js';

const ADVICE = "If the ZVM's database was brought back from a backup, bring back a newer one, or delete the VPG there and protect the VM anew";

/** What of a document may go into force, and why the rest may not. */
export interface GatedState {
  readonly desired: DesiredState;
  /** A sentence each. */
  readonly refusals: readonly string[];
}

/**
 * Leaves out what is of an epoch that is over: of a protection or barrier that is in force with a newer one, that stays; one whose VPG has a newer
 * epoch here in any other way is not begun. Everything else of the document goes on: guests of other VPGs must not wait for the manager's repair.
 */
export function withoutOverEpochs(wanted: DesiredState, current: DesiredState, recoveredEpochOf: (vpgId: string) => number): GatedState {
  const newest = (vpgId: string): number =>
    Math.max(recoveredEpochOf(vpgId), ...[...current.protections, ...current.barriers].filter((item) => item.vpgId === vpgId).map(({ epoch }) => epoch));
  const stale = new Map<string, { readonly told: number; readonly known: number }>();
  const isOver = ({ vpgId, epoch }: { readonly vpgId: string; readonly epoch: number }): boolean => {
    const known = newest(vpgId);
    if (epoch < known) stale.set(vpgId, { told: epoch, known });
    return epoch < known;
  };
  const keyOf = (item: ProtectionSpec | BarrierSpec): string => ('vmId' in item ? protectionKey(item) : item.vpgId);
  const gated = <Item extends ProtectionSpec | BarrierSpec>(items: readonly Item[], known: readonly Item[]): Item[] =>
    items.flatMap((item) => (isOver(item) ? (known.find((each) => keyOf(each) === keyOf(item) && each.epoch > item.epoch) ?? []) : item));
  const desired = { ...wanted, protections: gated(wanted.protections, current.protections), barriers: gated(wanted.barriers, current.barriers) };
  const refusals = [...stale].map(([vpgId, { told, known }]) => `VPG ${vpgId}: epoch ${String(known)} is in force here, not ${String(told)}`);
  return { desired, refusals };
}

export const overError = (refusals: readonly string[]): EngineError =>
  new EngineError('VRA_EPOCH', `${refusals.join('; ')}: whoever asks does not know of a failover. The rest of the document is in force. ${ADVICE}`);

/** Which epoch is the newest that the recovering side of this VRA durably knows, and who asks too late. */
export class EpochGate {
  constructor(private readonly recovering: Pick<RecoveringSide, 'inForce' | 'find' | 'viewSpec'>) {}

  /** VRA_EPOCH when `epoch`, which the asker believes to be in force, is over here. undefined: nobody said one; only callers within a process may. */
  check(ref: ProtectionRef, epoch: number | undefined): void {
    this.#refuse(ref, epoch, this.recovering.inForce(ref));
  }

  /** As {@link check}; a newer one that is reserved counts too: another failover was begun. */
  checkNewest(ref: ProtectionRef, epoch: number | undefined): void {
    this.#refuse(ref, epoch, Math.max(this.recovering.inForce(ref), this.recovering.find(protectionKey(ref))?.stats.reservedEpoch ?? 0));
  }

  /** Of a view that is there; an unknown one is for others to judge. */
  checkView(viewId: string, epoch: number | undefined): void {
    const spec = this.recovering.viewSpec(viewId);
    if (spec?.purpose === 'live') this.checkNewest(spec, epoch);
    else if (spec) this.check(spec, epoch);
  }

  #refuse({ vmId }: ProtectionRef, epoch: number | undefined, newest: number): void {
    if (epoch === undefined || epoch >= newest) return;
    throw overThere(vmId, { newest, epoch });
  }
}

export const overThere = (vmId: string, { newest, epoch }: { readonly newest: number; readonly epoch: number }): EngineError =>
  new EngineError('VRA_EPOCH', `VM ${vmId}: epoch ${String(newest)} is reserved or in force here, not ${String(epoch)}: another failover was begun or committed, of which whoever asks does not know. ${ADVICE}`);

/** VRA_EPOCH at the protecting side: the stream or the checkpoints are of a newer epoch than the asker knows. */
export function checkSending(what: string, { known, epoch }: { readonly known: number; readonly epoch: number | undefined }): void {
  if (epoch === undefined || epoch >= known) return;
  throw new EngineError('VRA_EPOCH', `${what}: epoch ${String(known)} is in force here, not ${String(epoch)}: the VPG has been failed over and back since. ${ADVICE}`);
}
