import type { VpgState } from './state.js';

/**
 * Who may write the VMs of a VPG, as the site sees it whose VMs they were. The other site decides a failover alone, maybe while this one is away: what it has
 * decided comes as a newer copy of the VPG or, from VRA to VRA, as the refusal of a stream whose epoch is over. Either one fences the VMs here, for
 * good: nothing but a person who was told the risk lifts it.
 */
export interface Fence {
  /** The epoch of the owner that is known to be newer; at least that. */
  readonly epoch: number;
  /** By a person, by force. */
  readonly isLifted: boolean;
  /** Those of the VPG that it stands for. */
  readonly vmIds: readonly string[];
}

export interface OwnershipFacts {
  /** Of the newest copy of the VPG here. */
  readonly state: VpgState;
  readonly epoch: number;
  /** All of the VPG. */
  readonly vmIds: readonly string[];
  /** Those whose streams, by the word of the very VRA that protects them, a recovering VRA has refused because a newer epoch is in force there. */
  readonly refusedVmIds: readonly string[];
}

/** States in which the recovery site has committed: its VMs are the VMs. */
const COMMITTED: ReadonlySet<VpgState> = new Set(['promoting', 'reversing', 'needsConfiguration']);

/**
 * What is fenced here from now on; undefined: nothing that is not fenced already. The recovery site's word is for all VMs; that of a VRA is for those that it protects, so that one which lies
 * stops no VM of another host. A fence that was lifted stands again only for a newer epoch.
 */
export function fenceDue({ state, epoch, vmIds, refusedVmIds }: OwnershipFacts, fence: Fence | undefined): Pick<Fence, 'epoch' | 'vmIds'> | undefined {
  if (COMMITTED.has(state) && epoch > (fence?.epoch ?? 0)) return { epoch, vmIds };
  if (fence?.isLifted === true) return undefined;
  const isWhole = COMMITTED.has(state) && epoch === fence?.epoch;
  const missing = (isWhole ? vmIds : refusedVmIds).filter((vmId) => fence?.vmIds.includes(vmId) !== true);
  // The refusal names no number; it is above that of the refused stream, and a fence that stands already says it.
  return missing.length === 0 ? undefined : { epoch: fence?.epoch ?? epoch + 1, vmIds: [...(fence?.vmIds ?? []), ...missing] };
}

export const isFenced = (fence: Fence | undefined): boolean => fence !== undefined && !fence.isLifted;

/** What the manager of the recovery site says of the VPG itself. */
export interface OwnerFacts {
  /** Of the copy here. */
  readonly state: VpgState;
  readonly epoch: number;
  /** It was heard lately, and has no newer copy. */
  readonly isNewest: boolean;
}

/**
 * The manager of the site that is said to own the VMs knows of no failover: only recovering VRAs have said so. Either one of them lies, or that manager has forgotten a failover (a database of before). The
 * fence stands all the same: of the two mistakes, two writers is the one that cannot be mended.
 */
export const isDenied = ({ state, epoch, isNewest }: OwnerFacts, fence: Fence): boolean => isNewest && !COMMITTED.has(state) && epoch < fence.epoch;

/** A claim from nobody: the site that was said to own the VMs has not committed a failover behind the epoch of the fence. A later one fences again. */
export const isOver = ({ state, epoch }: Pick<OwnerFacts, 'state' | 'epoch'>, fence: Fence): boolean => fence.isLifted && !COMMITTED.has(state) && fence.epoch <= epoch;

export interface ClaimFacts {
  readonly fence: Fence | undefined;
  readonly isDenied?: boolean;
  readonly isForced: boolean;
  readonly vpgName: string;
  readonly ownerSiteName: string;
  readonly ownSiteName: string;
}

/** Why the VMs may not write here again; undefined: they may. Without force the answer names what force would risk. */
export function claimRefusal({ fence, isDenied: isWithoutOwner = false, isForced, vpgName, ownerSiteName, ownSiteName }: ClaimFacts): string | undefined {
  if (fence === undefined) return `the VMs of VPG '${vpgName}' are not fenced at this site: there is nothing to claim`;
  if (fence.isLifted) return `site ${ownSiteName} has claimed the VMs of VPG '${vpgName}' already`;
  if (isForced) return undefined;
  if (isWithoutOwner) {
    return (
      `VRAs of site ${ownerSiteName} refuse the streams of VPG '${vpgName}' as if it had failed it over, and its site manager knows of no failover. Look whether its VMs run at ${ownerSiteName}: if they do, ` +
      `claiming them here lets both sites run the same VMs, and one side's changes will be lost for good. If they do not, repeat it with Force (tidemark claim --force); a failover from now on fences them again`
    );
  }
  return (
    `site ${ownerSiteName} owns the VMs of VPG '${vpgName}' since it failed them over (epoch ${fence.epoch}). Claiming them here lets both sites run the same VMs: what users ` +
    `change at one site is missing at the other, and one side's changes will be lost for good. Power the VMs off at ${ownerSiteName} first. Repeat it with Force (tidemark claim --force) to claim them all the same`
  );
}
