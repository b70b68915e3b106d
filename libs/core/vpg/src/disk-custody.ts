/** What a VRA said last: the document that it has carried out whole, and the VMs whose disks it has open. */
export interface VraWord {
  readonly revision: number;
  readonly attachedVmIds: ReadonlySet<string>;
}

/**
 * One VRA as its manager sees it. What it said is older than what it was told since: a document that is under way may make it open a disk after the word that it has none. Only a
 * word about a document that came behind the last one with that VM says that it has let go, for good.
 */
export class VraCustody {
  #firstRevision = Infinity;
  #newestRevision = -1;
  readonly #newestWith = new Map<string, number>();

  /** Before a document is sent, and once more for the newest one after a restart of the manager. Revisions grow, and one revision is one document. */
  told(revision: number, vmIds: Iterable<string>): void {
    this.#firstRevision = Math.min(revision, this.#firstRevision);
    this.#newestRevision = revision;
    for (const vmId of vmIds) this.#newestWith.set(vmId, revision);
  }

  /** The newest document names the VM: by these rules no other VRA has been told of it since. */
  isGiven(vmId: string): boolean {
    return this.#newestWith.get(vmId) === this.#newestRevision;
  }

  /** It has the VM's disks open, may open them, or nobody knows. `word` undefined: nothing was heard of it. */
  mayServe(vmId: string, word: VraWord | undefined): boolean {
    if (word === undefined || word.revision < this.#firstRevision) return true;
    return word.attachedVmIds.has(vmId) || (this.#newestWith.get(vmId) ?? -1) >= word.revision;
  }
}

export interface KnownVra {
  readonly custody: VraCustody;
  /** undefined: it was not heard of since the manager started. */
  readonly word: VraWord | undefined;
}

/**
 * May `own`, the VRA of its host, serve a VM whose disks have no lock that would keep a second VRA off them (ADR 0020)? It does already or was given it, or all others of the site have
 * let go. One that is silent keeps it: the guest waits, which is chosen as for files.
 */
export function isLetGo(vmId: string, own: KnownVra | undefined, others: readonly KnownVra[]): boolean {
  // Both have it: none of this here made that; the one where the VM is not goes first.
  if (others.some(({ word }) => word?.attachedVmIds.has(vmId) === true)) return false;
  if (own?.word?.attachedVmIds.has(vmId) === true || own?.custody.isGiven(vmId) === true) return true;
  return others.every(({ custody, word }) => !custody.mayServe(vmId, word));
}
