/** A VPG has one set of VMs most of the time, and the checkpoints of some more while it is edited. */
const KNOWN_MAX = 16;

/**
 * One array for all checkpoints over the same VMs. Each of a VPG's journals names the VMs of each of its checkpoints: kept as they arrive, those of a VPG of 100 VMs
 * would take 600 KB a checkpoint, and two of them could only be compared name by name.
 */
export class SharedVmSets {
  /** Newest use first. */
  #known: (readonly string[])[] = [];

  /** @param shared asked for what is not known here: the sets of one journal do not push out those of another one, and are the same arrays all the same. */
  constructor(private readonly shared?: SharedVmSets) {}

  /** An array of the same ids in the same order, most likely one that was given before. */
  of(vmIds: readonly string[]): readonly string[] {
    const shared = this.#known.find((known) => known.length === vmIds.length && known.every((vmId, index) => vmId === vmIds[index])) ?? this.shared?.of(vmIds) ?? vmIds;
    if (shared !== this.#known[0]) this.#known = [shared, ...this.#known.filter((known) => known !== shared)].slice(0, KNOWN_MAX);
    return shared;
  }
}
