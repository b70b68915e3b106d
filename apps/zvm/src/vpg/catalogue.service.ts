import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { CHECKPOINT_TAG_MAX, type CheckpointListingV1, type JournalCheckpointV1 } from '@tidemark/contracts';
import { CheckpointCatalogue, JournalIntake, type ListingLimits, type ListingPage, SharedVmSets } from '@tidemark/recovery';
import { Background, eachAlone } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { CatalogueStore, type CatalogueChange, type CatalogueEntry } from './catalogue.store.js';
import { isReplicating, type VpgRecord } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** A journal's checkpoint with the moment of reading, from which its age runs on. */
type Held = JournalCheckpointV1 & { readonly readMs: number };

interface VmRef {
  readonly vpgId: string;
  readonly vmId: string;
  readonly vraId: string;
  readonly limits: ListingLimits;
  /** For people. */
  readonly name: string;
}

interface VpgCatalogue {
  readonly merged: CheckpointCatalogue<Held>;
  readonly vmSets: SharedVmSets;
  /** By VM: what its journal's list may be, and how far it was read. */
  readonly intakes: Map<string, JournalIntake<Held>>;
  /** Checkpoints that were listed when the first journal was read. */
  readonly listedBefore: number;
  /** What PostgreSQL holds is what `merged` says: changes alone are written. */
  isSynced: boolean;
}

/** Then it is another VPG's turn; the reading goes on at the next heartbeat. */
const TURN_MS = 2000;

/** Changes remembered for a peer that is only a little behind. */
const LOG_LENGTH_MAX = 64;

interface LoggedChange {
  readonly revision: number;
  readonly change: CatalogueChange;
}

/**
 * At the recovery site: reads what each VM's journal holds as soon as a heartbeat says that it changed, merges it into the VPG's list, and
 * writes that down. A VRA that is away takes nothing from the list; only a journal that says so does.
 */
@Injectable()
export class CatalogueService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #catalogues = new Map<string, VpgCatalogue>();
  readonly #logs = new Map<string, LoggedChange[]>();
  readonly #listeners: ((vpgId: string) => void)[] = [];
  readonly #loop = new Background('catalogue', 1000, () => this.#readAll());

  constructor(
    private readonly store: CatalogueStore,
    private readonly vpgs: VpgStore,
    private readonly vras: VraLinkService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onApplicationBootstrap(): void {
    this.vras.onStatus(() => this.#loop.poke());
    this.#loop.start();
  }

  /** Called when a VPG's list has changed and the change is durable. */
  onChange(listener: (vpgId: string) => void): void {
    this.#listeners.push(listener);
  }

  /** Age of the newest listed checkpoint on monotonic clocks; null when there is none or it has not been read since the start. */
  newestAgeMs(vpgId: string): number | null {
    const latest = this.#catalogues.get(vpgId)?.merged.latest;
    return latest ? latest.ageMs + this.clock.monotonicMs() - latest.readMs : null;
  }

  /** What leads from `baseRevision` to now; undefined: too far back, send the whole list. */
  changesSince(vpgId: string, baseRevision: number): CatalogueChange | undefined {
    const log = this.#logs.get(vpgId) ?? [];
    const from = log.findIndex(({ revision }) => revision === baseRevision + 1);
    if (from < 0) return undefined;
    const added = new Map<number, CatalogueEntry>();
    const removed = new Set<number>();
    for (const { change } of log.slice(from)) {
      for (const id of change.removed) {
        added.delete(id);
        removed.add(id);
      }
      for (const entry of change.added) added.set(entry.checkpointId, entry);
    }
    return { added: [...added.values()], removed: [...removed] };
  }

  async #readAll(): Promise<void> {
    if (!this.vpgs.isLoaded) return;
    const mine = this.vpgs.all().filter((vpg) => vpg.definition.recoverySiteId === this.config.siteId);
    const replicating = mine.filter(isReplicating);
    const alive = new Set(replicating.map(({ definition }) => definition.vpgId));
    for (const vpgId of this.#catalogues.keys()) if (!alive.has(vpgId)) this.#catalogues.delete(vpgId);
    await eachAlone(replicating, (vpg) => this.#read(vpg));
  }

  async #read({ definition }: VpgRecord): Promise<void> {
    const { vpgId } = definition;
    await this.store.load(vpgId);
    const catalogue = this.#catalogues.get(vpgId) ?? await this.#begin(vpgId);
    const limits = { historyMs: definition.historyMs, intervalMs: definition.checkpointIntervalMs };
    const refOf = (vm: VpgRecord['definition']['vms'][number]): VmRef => ({ vpgId, vmId: vm.vmId, vraId: vm.recoveringVra.vraId, limits, name: `VM '${vm.name}' of VPG '${definition.name}'` });
    const changes = await Promise.all(definition.vms.map((vm) => this.#readVm(catalogue, refOf(vm))));
    const isWholeKnown = definition.vms.every((vm) => isKnown(catalogue, vm.vmId));
    if (catalogue.isSynced) await this.#write(vpgId, catalogue, joined(changes.flat()));
    else if (isWholeKnown) await this.#write(vpgId, catalogue, await this.#difference(vpgId, catalogue));
  }

  async #begin(vpgId: string): Promise<VpgCatalogue> {
    const catalogue = { merged: new CheckpointCatalogue<Held>(), vmSets: new SharedVmSets(), intakes: new Map(), listedBefore: await this.store.count(vpgId), isSynced: false };
    this.#catalogues.set(vpgId, catalogue);
    return catalogue;
  }

  async #readVm(catalogue: VpgCatalogue, ref: VmRef): Promise<CatalogueChange[]> {
    const shown = this.vras.status(ref.vraId)?.recoveries.find((recovery) => recovery.vpgId === ref.vpgId && recovery.vmId === ref.vmId);
    const intake = this.#intakeOf(catalogue, ref);
    if (!shown || intake.listing.isCurrent(shown) || intake.isHeldOff(this.clock.monotonicMs())) return [];
    const changes: CatalogueChange[] = [];
    const untilMs = this.clock.monotonicMs() + TURN_MS;
    do {
      const { question } = intake.listing;
      // A VRA that is away is asked on where it was left, at the next heartbeat.
      const answer = await this.vras.listCheckpoints(ref.vraId, { vpgId: ref.vpgId, vmId: ref.vmId }, question).catch(() => undefined);
      if (!answer) return changes;
      const known = (checkpoint: Held): Held | undefined => catalogue.merged.knownOf(ref.vmId, checkpoint);
      const news = intake.take({ question, page: this.#stamped(answer), limits: ref.limits, nowMs: this.clock.monotonicMs(), known });
      if (news === 'refused') {
        this.vras.noteAnswer(ref.vraId, 'checkpoint.list', `lists more checkpoints of ${ref.name}, or longer ones, than its history and its interval can have made; its list is refused, and what was listed stays. Somebody else may speak in its name`);
        return changes;
      }
      if (news) {
        const { added, removed } = catalogue.merged.apply(ref.vmId, news);
        changes.push({ added: added.map(entryOf), removed });
      }
      // What changed while the list was read is asked for at the next heartbeat.
      if (!intake.listing.isReading && !(news && answer.isMore)) return changes;
    } while (this.clock.monotonicMs() < untilMs);
    return changes;
  }

  #intakeOf({ intakes, vmSets, listedBefore }: VpgCatalogue, { vmId, limits }: VmRef): JournalIntake<Held> {
    const intake = intakes.get(vmId) ?? new JournalIntake<Held>(vmSets, limits, { listedBefore, nowMs: this.clock.monotonicMs() });
    intakes.set(vmId, intake);
    return intake;
  }

  #stamped(listing: CheckpointListingV1): ListingPage<Held> {
    const readMs = this.clock.monotonicMs();
    return { ...listing, held: listing.held.map((checkpoint) => ({ ...checkpoint, readMs })) };
  }

  async #difference(vpgId: string, { merged }: VpgCatalogue): Promise<CatalogueChange> {
    const written = new Map((await this.store.list(vpgId)).map((entry) => [entry.checkpointId, entry]));
    const listed = merged.listed();
    const isNew = (held: Held): boolean => {
      const known = written.get(held.checkpointId);
      return known?.epoch !== held.epoch || known.term !== held.term;
    };
    return {
      added: listed.filter(isNew).map(entryOf),
      removed: [...written.keys()].filter((id) => !merged.find(id)),
    };
  }

  async #write(vpgId: string, catalogue: VpgCatalogue, change: CatalogueChange): Promise<void> {
    const isEmpty = change.added.length + change.removed.length === 0;
    if (isEmpty) {
      catalogue.isSynced = true;
      return;
    }
    // Until the rows are written, memory is ahead of them: a failure here means a whole comparison next time.
    catalogue.isSynced = false;
    const notes = await this.store.notes(vpgId);
    // The history may have ended while its journals were asked: what they said then does not bring it back.
    const vpg = this.vpgs.find(vpgId);
    if (!vpg || vpg.definition.recoverySiteId !== this.config.siteId || !isReplicating(vpg)) return;
    await this.#apply(vpgId, { ...change, added: change.added.map((entry) => withNote(entry, notes.get(entry.checkpointId))) });
    catalogue.isSynced = true;
  }

  async #apply(vpgId: string, change: CatalogueChange): Promise<void> {
    const revision = await this.store.apply(vpgId, change);
    const log = this.#logs.get(vpgId) ?? [];
    log.push({ revision, change });
    this.#logs.set(vpgId, log.slice(-LOG_LENGTH_MAX));
    for (const listener of this.#listeners) listener(vpgId);
  }

  /** Adds to a checkpoint's tag, at both sites. One that is not listed any more is left alone. */
  async tag(vpgId: string, checkpointId: number, text: string): Promise<void> {
    const entry = await this.store.find(vpgId, checkpointId);
    if (!entry || entry.tag?.includes(text)) return;
    await this.store.note(vpgId, checkpointId, text);
    await this.#apply(vpgId, { added: [withNote(entry, text)], removed: [] });
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}

const isKnown = ({ intakes }: VpgCatalogue, vmId: string): boolean => intakes.get(vmId)?.listing.isKnown === true;

function joined(changes: readonly CatalogueChange[]): CatalogueChange {
  const added = new Map<number, CatalogueEntry>();
  const removed = new Set<number>();
  for (const change of changes) {
    for (const id of change.removed) {
      added.delete(id);
      removed.add(id);
    }
    for (const entry of change.added) added.set(entry.checkpointId, entry);
  }
  return { added: [...added.values()], removed: [...removed] };
}

function entryOf({ checkpointId, atMs, tag, kind, epoch, term, vmIds }: Held): CatalogueEntry {
  return { checkpointId, atMs, tag, kind, epoch, term, vmIds: [...vmIds] };
}

function withNote(entry: CatalogueEntry, note: string | undefined): CatalogueEntry {
  if (note === undefined || entry.tag?.includes(note)) return entry;
  if (entry.tag === null) return { ...entry, tag: note };
  // One that is tested again and again keeps how it was called and the newest note: the other site refuses a longer text, and with it the whole list.
  return { ...entry, tag: `${entry.tag.slice(0, Math.max(0, CHECKPOINT_TAG_MAX - note.length - 2))}; ${note}` };
}
