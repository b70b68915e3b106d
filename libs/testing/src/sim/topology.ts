import type { BarrierConfig } from '@tidemark/checkpoint';
import type { GuestVm } from './guest-vm.js';

/** One VPG as it is set up: which VMs, and which recovering host takes each. */
export interface VpgPlan {
  readonly vpgId: string;
  readonly vms: readonly GuestVm[];
  /** By VM. */
  readonly recoveringHostOf: Map<string, string>;
  /** By VM: the sizes of its volumes as the recovering VRA was told them. Absent: as the disks are. */
  readonly volumesOf: Map<string, readonly number[]>;
  /** An edit changes it: as recorded. */
  intervalMs: number;
  /** What is promised: while an edit is under way, the shorter of both. */
  historyMs: number;
  readonly epoch: number;
  /** Of VMs that were failed over or moved, back to where they ran. */
  readonly isReversed: boolean;
}

export const EPOCH = 1;

export const keyOf = (vpgId: string, vmId: string): string => `${vpgId}/${vmId}`;

/** One stream that a protecting host is to have. */
export interface ProtectionPlan {
  readonly vpgId: string;
  readonly vm: GuestVm;
  readonly recoveringHost: string;
  readonly epoch: number;
  /** By volume index, 0: removed. */
  readonly volumeBytes: readonly number[];
}

/** What one protecting host is to do: the whole of it, with a number that grows. */
export interface DesiredState {
  readonly revision: number;
  readonly vms: readonly GuestVm[];
  readonly protections: readonly ProtectionPlan[];
  readonly barriers: readonly BarrierConfig[];
}
