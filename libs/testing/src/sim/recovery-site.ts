import type { Checkers } from './checkers.js';
import { markerKey } from './guest-vm.js';
import type { RecoveringHost, ViewSpec } from './recovering-host.js';
import type { SwarmOptions } from './swarm.js';
import type { HostChange } from './host-change.js';
import type { PlannedMove, Settled } from './planned-move.js';
import type { Promoted, Reversal } from './reversal.js';
import { keyOf, type VpgPlan } from './topology.js';
import { ViewGuest } from './view-guest.js';
import { Violation, type World } from './world.js';

const ATTEMPT_MS = 1500;
const RETRY_MS_MAX = 150;
const THIN_MS = 200;

/** Again and again, until it is answered. */
export type Until = (act: () => Promise<void>) => Promise<void>;

interface OpenViews {
  readonly specs: readonly ViewSpec[];
  readonly guests: readonly ViewGuest[];
}

/** The recovery site's manager: failover tests and live failovers, step by step, each command again until it is answered. */
export class RecoverySite {
  #nextView = 1;
  readonly #nextEpoch = new Map<string, number>();
  readonly #busy = new Set<string>();
  readonly #guests = new Set<ViewGuest>();
  isStopping = false;
  testCount = 0;
  commitCount = 0;
  rollbackCount = 0;
  moveCount = 0;
  viewReadCount = 0;
  compactedBytes = 0;

  constructor(
    private readonly world: World,
    private readonly plans: readonly VpgPlan[],
    private readonly hosts: readonly RecoveringHost[],
    private readonly checkers: Checkers,
    private readonly options: SwarmOptions,
    private readonly turns: { readonly planned: PlannedMove; readonly reversal: Reversal; readonly hostChange: HostChange },
  ) {}

  get isIdle(): boolean {
    return this.#busy.size === 0;
  }

  get busy(): string {
    return [...this.#busy].join(', ');
  }

  hostCrashed(host: RecoveringHost, isPowerLoss: boolean): void {
    for (const guest of this.#guests) if (this.#hostOf(guest.spec) === host) guest.hostCrashed(isPowerLoss);
  }

  /** While it lasts its checkpoint stays, and when it has ended nothing has changed. */
  test(): void {
    const plan = this.world.random.pick(this.plans);
    const checkpointId = this.#choose(plan);
    if (checkpointId === undefined || this.#busy.has(plan.vpgId)) return;
    this.#run(plan, async () => {
      const before = this.checkers.mustBeHeld(plan.vpgId);
      const open = await this.#openViews(plan, checkpointId, 'test');
      if (open !== undefined) {
        this.testCount += 1;
        await this.#delay(this.world.random.below(1500));
        await this.#closeViews(open);
      }
      const after = new Set(this.checkers.mustBeHeld(plan.vpgId));
      for (const id of before) if (after.has(id)) this.checkers.checkEverywhere(plan.vpgId, id);
    });
  }

  /** Of checkpoints between the oldest and the newest some are dropped in all journals of a VPG, which then give back what only those showed. */
  thinNowAndThen(): void {
    this.world.after(this.world.random.between(THIN_MS / 2, THIN_MS * 2), () => {
      if (this.isStopping) return;
      this.#thin();
      this.thinNowAndThen();
    });
  }

  #thin(): void {
    const plan = this.world.random.pick(this.plans);
    // What is being opened may not go.
    if (this.#busy.has(plan.vpgId) || this.checkers.isEnding(plan.vpgId)) return;
    const dropped = this.checkers.mustBeHeld(plan.vpgId).slice(1, -2).filter(() => this.world.random.chance(0.7));
    if (dropped.length === 0) return;
    this.checkers.thinned(plan.vpgId, dropped);
    this.world.touch();
    const thinning = plan.vms.map(async ({ vmId }) => (await this.#of(plan, vmId).recovery(plan.vpgId, vmId)?.thin(dropped)) ?? 0);
    void Promise.all(thinning).then((freed) => {
      const freedBytes = freed.reduce((sum, bytes) => sum + bytes, 0);
      this.compactedBytes += freedBytes;
      if (freedBytes > 0) for (const id of this.checkers.mustBeHeld(plan.vpgId)) this.checkers.checkEverywhere(plan.vpgId, id);
    }).catch((error: unknown) => this.world.fail(error instanceof Error ? error : new Error(String(error))));
  }

  /** Reserve everywhere, open, run; then commit or roll back. */
  failover(): void {
    const plan = this.world.random.pick(this.plans);
    const checkpointId = this.#choose(plan);
    if (checkpointId === undefined || this.#busy.has(plan.vpgId)) return;
    const epoch = this.#newEpoch(plan);
    this.#run(plan, async () => {
      await this.#reserve(plan, epoch);
      const open = await this.#openViews(plan, checkpointId, 'live');
      if (open === undefined) return this.#burn(plan, epoch);
      if (await this.#decide(plan, epoch, open)) await this.#commit(plan, epoch, open);
    });
  }

  /** Reserve everywhere, shut the VMs down, and everything that they have written is at the other side; then as a failover. */
  move(): void {
    const plan = this.world.random.pick(this.plans);
    if (this.#choose(plan) === undefined || this.#busy.has(plan.vpgId) || plan.isReversed || !this.turns.planned.isPossible(plan)) return;
    const epoch = this.#newEpoch(plan);
    this.#run(plan, async () => {
      await this.#reserve(plan, epoch);
      const settled = await this.turns.planned.settled(plan);
      const open = settled && (await this.#openViews(plan, settled.checkpointId, 'live'));
      if (open !== undefined && (await this.#decide(plan, epoch, open))) {
        this.moveCount += 1;
        return this.#commit(plan, epoch, open, settled);
      }
      if (open === undefined) await this.#burn(plan, epoch);
      this.turns.planned.powerOn(plan);
    });
  }

  /** The journal of one of its VMs goes to another recovering host. */
  changeHost(): void {
    const plan = this.world.random.pick(this.plans);
    const { hostChange } = this.turns;
    if (this.isStopping || this.#busy.has(plan.vpgId) || this.checkers.isEnding(plan.vpgId) || !hostChange.isPossible(plan)) return;
    this.#run(plan, () => hostChange.run(plan, (act) => this.#until(act)));
  }

  /** Refused while something else of this VPG is under way; and nothing else of it begins before it has ended. */
  edit(plan: VpgPlan, update: (until: Until) => Promise<void>): void {
    if (this.isStopping || this.#busy.has(plan.vpgId) || this.checkers.isEnding(plan.vpgId)) return;
    this.#run(plan, () => update((act) => this.#until(act)));
  }

  isBusy(vpgId: string): boolean {
    return this.#busy.has(vpgId);
  }

  #newEpoch({ vpgId, epoch: inForce }: VpgPlan): number {
    const epoch = this.#nextEpoch.get(vpgId) ?? inForce + 1;
    this.#nextEpoch.set(vpgId, epoch + 1);
    return epoch;
  }

  async #reserve(plan: VpgPlan, epoch: number): Promise<void> {
    for (const { vmId } of plan.vms) await this.#until(() => this.#of(plan, vmId).reserveEpoch(plan.vpgId, vmId, epoch));
  }

  /** False: rolled back. */
  async #decide(plan: VpgPlan, epoch: number, open: OpenViews): Promise<boolean> {
    await this.#delay(this.world.random.below(1200));
    await this.#untilReady(plan);
    if (this.world.random.chance(this.options.commitChance)) return true;
    await this.#closeViews(open);
    await this.#burn(plan, epoch);
    this.rollbackCount += 1;
    return false;
  }

  async #commit(plan: VpgPlan, epoch: number, open: OpenViews, settled?: Settled): Promise<void> {
    // The decision is durable at the manager first: from here on there is only forward.
    this.checkers.ending(plan.vpgId);
    for (const { vmId } of plan.vms) {
      const host = this.#of(plan, vmId);
      await this.#until(() => host.commitEpoch(plan.vpgId, vmId, epoch));
      this.checkers.ended(keyOf(plan.vpgId, vmId), epoch);
    }
    for (const spec of open.specs) await this.#until(() => this.#hostOf(spec).promoteView(spec.viewId));
    for (const spec of open.specs) await this.#untilTrue(() => this.#hostOf(spec).view(spec.viewId)?.phase === 'promoted');
    // They write on, straight to their disks.
    if (this.options.reverseChance > 0) await this.#delay(this.world.random.below(600));
    await this.#stopGuests(open.guests);
    await this.#untilReady(plan);
    for (const guest of open.guests) this.#checkPromoted(guest);
    const promoted = open.guests.map((guest) => this.#promoted(guest));
    for (const spec of open.specs) await this.#until(() => this.#hostOf(spec).closeView(spec.viewId));
    this.commitCount += 1;
    const isReversing = this.options.reverseChance > 0 && !plan.isReversed && this.turns.planned.isPossible(plan) && this.world.random.chance(this.options.reverseChance);
    if (isReversing) await this.turns.reversal.reverse(plan, this.#newEpoch(plan), { promoted, settled });
  }

  #promoted({ spec, images }: ViewGuest): Promoted {
    const bitmaps = (this.#hostOf(spec).view(spec.viewId)?.volumes ?? []).map(({ changedBlocks }) => changedBlocks);
    const known = bitmaps.filter((bitmap) => bitmap !== undefined);
    return { vmId: spec.vmId, images, changes: known.length === images.length ? { basisId: spec.viewId, bitmaps: known } : undefined };
  }

  /** The mirrors alone are the disks. */
  #checkPromoted({ spec, images }: ViewGuest): void {
    const recovery = this.#hostOf(spec).recovery(spec.vpgId, spec.vmId);
    images.forEach((image, volume) => {
      // Its mirror is cut to the size of then: where it has grown, what is behind that goes.
      const found = recovery?.mirror(volume).file.copy().subarray(0, image.byteLength) ?? new Uint8Array();
      const at = found.findIndex((byte, index) => byte !== image[index]);
      if (at >= 0) throw new Violation('view', `${spec.vmId} was promoted, and volume ${volume} of its disk differs at byte ${at}`);
    });
  }

  async #burn(plan: VpgPlan, epoch: number): Promise<void> {
    for (const { vmId } of plan.vms) {
      const host = this.#of(plan, vmId);
      await this.#until(() => host.burnEpoch(plan.vpgId, vmId, epoch));
      this.checkers.burned(keyOf(plan.vpgId, vmId), epoch);
    }
  }

  /** What was said once is said again, late and in no order: nothing of it may have an effect that its first time had not. */
  mistake(): void {
    const { random } = this.world;
    const plan = random.pick(this.plans);
    const { vmId } = random.pick(plan.vms);
    const next = this.#nextEpoch.get(plan.vpgId) ?? plan.epoch + 1;
    const epoch = random.int(next + 1);
    const host = this.#of(plan, vmId);
    const isBusy = this.#busy.has(plan.vpgId);
    if (!host.isAlive || host.isPaused || epoch === 0) return;
    const key = keyOf(plan.vpgId, vmId);
    this.world.touch();
    const journal = host.recovery(plan.vpgId, vmId)?.journal;
    // During a failover only what must be refused: reserving or burning its epoch again would be that failover's own command.
    const isOld = epoch < next - (isBusy ? 1 : 0);
    if (!isOld || journal === undefined) return;
    const isBurned = this.checkers.isBurned(key, epoch);
    const isEnded = this.checkers.isEnding(plan.vpgId);
    const refused = (what: string) => (): void => this.world.fail(new Violation('ownership', `${key}: ${what} of epoch ${epoch} was taken a second time`));
    if (isBurned && random.chance(0.5)) void journal.reserveEpoch(epoch).then(refused('the reservation'), () => undefined);
    else if (isBurned && !isEnded) void journal.commitEpoch(epoch).then(refused('the commit'), () => undefined);
    else if (epoch <= plan.epoch) void journal.reserveEpoch(epoch).then(refused('the reservation'), () => undefined);
    else void journal.burnEpoch(epoch).then(() => undefined, () => undefined);
  }

  // ---- views

  async #openViews(plan: VpgPlan, checkpointId: number, purpose: ViewSpec['purpose']): Promise<OpenViews | undefined> {
    const specs: ViewSpec[] = [];
    for (const { vmId } of plan.vms) {
      const spec: ViewSpec = { viewId: `view${this.#nextView}`, vpgId: plan.vpgId, vmId, checkpointId, purpose };
      this.#nextView += 1;
      if (!(await this.#tryOpen(spec))) {
        await this.#closeViews({ specs, guests: [] });
        return undefined;
      }
      specs.push(spec);
    }
    await this.#untilReady(plan);
    if (purpose === 'live') this.checkers.poweringOn(plan.vpgId);
    const guests = specs.map((spec) => this.#startGuest(plan, spec));
    return { specs, guests };
  }

  /** A few times: the checkpoint may be on its way out. */
  async #tryOpen(spec: ViewSpec): Promise<boolean> {
    const host = this.#hostOf(spec);
    for (let attempt = 0; attempt < 6; attempt += 1) {
      if (host.isAlive && (await this.#attempt(() => host.openView(spec)))) {
        this.checkers.viewOpened(spec);
        return true;
      }
      await this.#delay(this.world.random.below(RETRY_MS_MAX) + 100);
    }
    // It may have been opened, and the answer been lost.
    await this.#until(() => host.closeView(spec.viewId));
    return false;
  }

  #startGuest(plan: VpgPlan, spec: ViewSpec): ViewGuest {
    const vm = plan.vms.find(({ vmId }) => vmId === spec.vmId);
    const images = vm?.markers.get(markerKey(spec.vpgId, spec.checkpointId))?.images;
    if (images === undefined) throw new Violation('image', `${spec.vmId} holds checkpoint ${spec.checkpointId}, which nobody marked`);
    const guest = new ViewGuest(this.world, this.#hostOf(spec), spec, images, this.options);
    this.#guests.add(guest);
    guest.start();
    return guest;
  }

  async #stopGuests(guests: readonly ViewGuest[]): Promise<void> {
    for (const guest of guests) guest.isStopped = true;
    await this.#untilTrue(() => guests.every((guest) => guest.isIdle));
    for (const guest of guests) {
      this.#guests.delete(guest);
      guest.isRetired = true;
      this.viewReadCount += guest.readCount;
    }
  }

  async #closeViews({ specs, guests }: OpenViews): Promise<void> {
    await this.#stopGuests(guests);
    for (const spec of specs) {
      await this.#until(() => this.#hostOf(spec).closeView(spec.viewId));
      this.checkers.viewClosed(spec);
    }
  }

  // ---- waiting

  #run(plan: VpgPlan, work: () => Promise<void>): void {
    this.#busy.add(plan.vpgId);
    this.world.touch();
    void work().then(
      () => this.#busy.delete(plan.vpgId),
      (error: unknown) => this.world.fail(error instanceof Error ? error : new Error(String(error))),
    );
  }

  async #until(act: () => Promise<void>): Promise<void> {
    while (!(await this.#attempt(act))) await this.#delay(20 + this.world.random.below(RETRY_MS_MAX));
  }

  /** True: answered. A host that dies never answers. */
  async #attempt(act: () => Promise<void>): Promise<boolean> {
    this.world.touch();
    const answered = (async () => act())().then(() => true, () => false);
    return await Promise.race([answered, this.#delay(ATTEMPT_MS).then(() => false)]);
  }

  async #untilTrue(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await this.#delay(25);
  }

  async #untilReady({ vms, vpgId }: VpgPlan): Promise<void> {
    await this.#untilTrue(() => vms.every(({ vmId }) => {
      const host = this.#find(vpgId, vmId);
      return host?.isAlive === true && host.recovery(vpgId, vmId)?.journal !== undefined;
    }));
  }

  #delay(ms: number): Promise<void> {
    return this.world.delay(ms);
  }

  #choose(plan: VpgPlan): number | undefined {
    if (this.isStopping || this.checkers.isEnding(plan.vpgId)) return undefined;
    const candidates = this.checkers.mustBeHeld(plan.vpgId);
    return candidates.length === 0 ? undefined : this.world.random.pick(candidates);
  }

  #hostOf({ vpgId, vmId }: { readonly vpgId: string; readonly vmId: string }): RecoveringHost {
    const host = this.#find(vpgId, vmId);
    if (host === undefined) throw new RangeError('no host');
    return host;
  }

  #of(plan: VpgPlan, vmId: string): RecoveringHost {
    return this.#hostOf({ vpgId: plan.vpgId, vmId });
  }

  #find(vpgId: string, vmId: string): RecoveringHost | undefined {
    const name = this.plans.find((plan) => plan.vpgId === vpgId)?.recoveringHostOf.get(vmId);
    return this.hosts.find((host) => host.name === name);
  }
}
