import { cp, mkdtemp, rename, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { MiB, TidemarkError } from '@tidemark/base';
import type { RecoveryReleaseV1, RecoveryV1 } from '@tidemark/contracts';
import * as actual from '@tidemark/sys/replace-file';
import type { RecoveryPair as RealPair } from '@tidemark/testing';
import { beginRun, dueStep, type PlanRun, resumed, stepFailed, stepSucceeded } from '@tidemark/recovery';
import { ZvmError } from '../../errors.js';
import type { Notes, OperationKind, StepContext } from '../../operation/operation-kind.js';
import { vpgDefinition, vpgRecord, vpgVm } from '../../testing/factories.js';
import { withRecoveryAt } from '../moved-recoveries.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { VpgDefinition } from '../vpg-model.js';
import type { MoveRecoveryInput } from './move-recovery.js';

/**
 * The ZVM's real plan against two real VRAs on real files. What each of them makes durable goes through `replaceFile`: a VRA dies at any of these, before
 * or after it took effect, and is started again; the ZVM dies behind any step, whose outcome it has not stored.
 */
let onReplace: (act: () => Promise<void>) => Promise<void> = (act) => act();
jest.unstable_mockModule('@tidemark/sys/replace-file', () => ({
  ...actual,
  replaceFile: (path: string, text: string, mode: number) => onReplace(() => actual.replaceFile(path, text, mode)),
}));
// Not by name: what is imported lazily anywhere may be imported statically nowhere (@nx/enforce-module-boundaries).
const library: string = '@tidemark/testing';
const { RecoveryPair } = (await import(library)) as { readonly RecoveryPair: typeof RealPair };
const { MoveRecoveryOperation } = await import('./move-recovery.js');

const SITE = 'aaaaaaaa-0000-4000-8000-000000000001';
const IDENTITY = RecoveryPair.identity;

let model: string;
const worlds: World[] = [];

beforeAll(async () => {
  model = await mkdtemp(join(tmpdir(), 'tidemark-move-'));
  await RecoveryPair.makeRecovery(model);
});

afterAll(async () => {
  await rm(model, { recursive: true });
});

afterEach(async () => {
  onReplace = (act) => act();
  for (const world of worlds.splice(0)) await world.remove();
});

interface Crash {
  /** At the how-manieth durable write. */
  readonly at: number;
  /** `failed`: it cannot be written, and the process goes on. */
  readonly how: 'killedBefore' | 'killedAfter' | 'failed';
}

interface Situation {
  readonly crash?: Crash;
  /** The new VRA's host does not see the datastore. */
  readonly isUnseen?: boolean;
  readonly quietMs?: number;
}

class World {
  readonly #vras: RealPair;
  record = vpgRecord();
  /** They run, and the ZVM does not hear of them. */
  readonly silent = new Set<string>();
  /** Durable writes since the move began. */
  writes = 0;
  #isKilled = false;

  private constructor(
    readonly folder: string,
    private readonly situation: Situation,
  ) {
    this.#vras = new RecoveryPair(folder, { quietMs: situation.quietMs ?? 1, isUnseenBy: situation.isUnseen === true ? 'new' : undefined });
  }

  static async make(situation: Situation = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-move-'));
    await cp(model, folder, { recursive: true });
    const world = new World(folder, situation);
    worlds.push(world);
    const disk = { diskId: 'scsi:0:0', sizeBytes: RecoveryPair.diskBytes, recoveryDatastoreId: 'ds', mirrorPath: join(folder, 'disk.raw') };
    const vm = vpgVm(IDENTITY.vmId, { disks: [disk], journalFolder: join(folder, 'journal'), journalDatastore: { id: 'ds', path: folder, capacityBytes: 1024 * MiB } });
    const definition = { ...vpgDefinition({ vms: [{ ...vm, recoveryHostId: 'h-old', recoveringVra: addressOf('old') }] }), vpgId: IDENTITY.vpgId };
    world.record = { ...world.record, definition, state: 'protecting' };
    await world.start('old');
    await world.site.putRecoveries(definition, 1);
    await world.start('new');
    onReplace = (act) => world.#replace(act);
    return world;
  }

  async #replace(act: () => Promise<void>): Promise<void> {
    if (this.#isKilled) throw new Error('killed');
    this.writes += 1;
    const { at, how } = this.situation.crash ?? {};
    if (this.writes !== at) return await act();
    if (how === 'killedAfter') await act();
    this.#isKilled = how !== 'failed';
    throw new Error(how);
  }

  async start(vraId: string): Promise<void> {
    this.#isKilled = false;
    await this.#vras.start(vraId);
  }

  async stop(vraId: string): Promise<void> {
    await this.#vras.stop(vraId);
  }

  async #ask(vraId: string, act: (engine: NonNullable<ReturnType<RealPair['engine']>>) => Promise<void>): Promise<void> {
    const engine = this.isAlive(vraId) ? this.#vras.engine(vraId) : undefined;
    if (!engine) throw new ZvmError('ZVM_VRA_DOWN', vraId);
    try {
      await act(engine);
    } catch (error) {
      if (!this.#isKilled) throw error;
      await this.stop(vraId);
      await this.start(vraId);
      throw new ZvmError('ZVM_VRA_DOWN', `${vraId} was killed`);
    }
  }

  isAlive(vraId: string): boolean {
    return this.#vras.engine(vraId) !== undefined && !this.silent.has(vraId);
  }

  /** Of a VRA that runs. */
  recoveryCount(vraId: string): number {
    return this.#vras.recoveryCount(vraId);
  }

  get #link(): ConstructorParameters<typeof RecoverySite>[0] {
    return {
      isAlive: (vraId: string) => this.isAlive(vraId),
      putRecovery: (vraId: string, spec: RecoveryV1) => this.#ask(vraId, (engine) => engine.putRecovery(spec)),
      releaseRecovery: (vraId: string, release: RecoveryReleaseV1) => this.#ask(vraId, (engine) => engine.releaseRecovery(release)),
    } as unknown as ConstructorParameters<typeof RecoverySite>[0];
  }

  get #vpgs(): ConstructorParameters<typeof RecoverySite>[1] {
    const update = (_: string, change: (record: typeof this.record) => typeof this.record): Promise<void> => Promise.resolve(void (this.record = change(this.record)));
    return { get: () => this.record, find: () => this.record, update } as unknown as ConstructorParameters<typeof RecoverySite>[1];
  }

  get site(): RecoverySite {
    return new RecoverySite(this.#link, this.#vpgs, { isAlive: () => false } as never, { siteId: SITE } as never);
  }

  /** The run of the plan to its end. `diesBehind`: the ZVM is killed behind this step, counted with its repetitions, and does it again. */
  async move({ diesBehind = -1, isOldHostDown = false } = {}): Promise<PlanRun> {
    const kind = this.#kind();
    const before = this.record.definition;
    const input: MoveRecoveryInput = { before, definition: withRecoveryAt(before, new Map([[IDENTITY.vmId, { hostId: 'h-new', vra: addressOf('new') }]])), isOldHostDown };
    let run = beginRun('moveRecovery');
    for (let step = 0, due = dueStep(run); due; step += 1, due = dueStep(run)) {
      if (step > 40) throw new Error(`no end: ${JSON.stringify(run)}`);
      run = await oneStep(run, async () => await (due?.direction === 'do' ? kind.steps[due.name]?.do({ input } as StepContext<MoveRecoveryInput>) : kind.steps[due?.name ?? 'checkRecoveryMove']?.undo?.({ input } as StepContext<MoveRecoveryInput>)), step === diesBehind);
    }
    return run;
  }

  #kind(): OperationKind<MoveRecoveryInput> {
    const kinds: OperationKind<MoveRecoveryInput>[] = [];
    new MoveRecoveryOperation({ register: (kind: OperationKind<MoveRecoveryInput>) => kinds.push(kind) } as never, this.#vpgs, this.site, this.#link).onModuleInit();
    const [kind] = kinds;
    if (!kind) throw new Error('no kind was registered');
    return kind;
  }

  /** Whoever was down is back: one VRA has the recovery, the one that is recorded, with all that it held; its sender goes on where it was. */
  async expectOneOwner(vraId: string): Promise<void> {
    for (const each of ['old', 'new']) await this.stop(each);
    // The one that has lost it first, without a lock in its way: the files alone tell it.
    const loser = vraId === 'old' ? 'new' : 'old';
    for (const each of [loser, vraId]) await this.start(each);
    const owners = ['old', 'new'].filter((each) => this.recoveryCount(each) > 0);
    expect([owners, this.record.definition.vms[0]?.recoveringVra.vraId]).toEqual([[vraId], vraId]);
    expect(this.#vras.listedBy(vraId)).toEqual([1, 2, 3]);
    await this.#vras.close();
    expect(await this.#vras.goesOn()).toEqual({ isListed: true, isAllThere: true });
  }

  /** Whoever has the mirror open keeps another file than the one that is there from now on, so that its lock hinders nobody. */
  async unlock(): Promise<void> {
    const path = join(this.folder, 'disk.raw');
    await cp(path, `${path}.copy`);
    await rename(`${path}.copy`, path);
  }

  async remove(): Promise<void> {
    await this.#vras.close();
    await rm(this.folder, { recursive: true });
  }
}

async function oneStep(run: PlanRun, act: () => Promise<Notes | void>, isOutcomeLost: boolean): Promise<PlanRun> {
  try {
    const notes = await act();
    return isOutcomeLost ? resumed(run) : stepSucceeded(run, notes ?? {});
  } catch (error) {
    return stepFailed(run, { reason: String(error), isRetryable: error instanceof TidemarkError && error.isRetryable });
  }
}

const addressOf = (vraId: string): VpgDefinition['vms'][number]['recoveringVra'] => ({ vraId, address: '127.0.0.1', controlPort: 1, dataPort: 1 });

const HOWS: readonly Crash['how'][] = ['killedBefore', 'killedAfter', 'failed'];
const crashesAt = (writeCount: number): Crash[] => Array.from({ length: writeCount }, (_, index) => HOWS.map((how) => ({ at: index + 1, how }))).flat();
const text = ({ at, how }: Crash): string => `write ${String(at)} ${how}`;

describe('a move between two VRAs', () => {
  it('makes five things durable: forgotten and released by the old one, claimed and known by the new one, and known again with its recoverers', async () => {
    const world = await World.make();
    expect((await world.move()).phase).toBe('completed');
    expect(world.writes).toBe(5);
    await world.expectOneOwner('new');
  });

  it.each(crashesAt(5))('ends with one owner: $at $how', async (crash) => {
    const world = await World.make({ crash });
    const { phase } = await world.move();
    expect(world.writes).toBeGreaterThanOrEqual(crash.at);
    // A VRA that comes back is asked again; what cannot be written makes the move go back, unless it is behind the point of no return.
    expect([text(crash), phase]).toEqual([text(crash), crash.how !== 'failed' || crash.at === 5 ? 'completed' : 'rolledBack']);
    await world.expectOneOwner(phase === 'completed' ? 'new' : 'old');
  });

  it.each([0, 1, 2, 3, 4, 5])('ends with one owner when the ZVM dies behind step %d and does not know what came of it', async (diesBehind) => {
    const world = await World.make();
    expect(await world.move({ diesBehind })).toMatchObject({ phase: 'completed', restarts: 1 });
    await world.expectOneOwner('new');
  });

  it.each(crashesAt(4))('goes back when the new host does not see the datastore: $at $how', async (crash) => {
    const world = await World.make({ crash, isUnseen: true });
    expect(await world.move()).toMatchObject({ phase: 'rolledBack' });
    expect(world.writes).toBeGreaterThanOrEqual(crash.at);
    await world.expectOneOwner('old');
  });

  it.each([0, 1, 2, 3, 4])('goes back when the ZVM dies behind step %d of that', async (diesBehind) => {
    const world = await World.make({ isUnseen: true });
    expect(await world.move({ diesBehind })).toMatchObject({ phase: 'rolledBack' });
    await world.expectOneOwner('old');
  });
});

describe('a move away from a VRA that is dead', () => {
  it('needs the word of an operator, who is told what it means; nothing is touched without it', async () => {
    const world = await World.make();
    await world.stop('old');
    expect(await world.move()).toMatchObject({ phase: 'rolledBack', reason: expect.stringMatching(/powered off or cut off.*two VRAs that write one journal destroy it/) });
    expect(world.writes).toBe(0);
    await world.expectOneOwner('old');
  });

  it.each([...crashesAt(3), { at: 99, how: 'failed' } as const])('ends with one owner, also when the old one comes back: $at $how', async (crash) => {
    const world = await World.make({ crash });
    await world.stop('old');
    const { phase } = await world.move({ isOldHostDown: true });
    expect([text(crash), phase]).toEqual([text(crash), crash.how !== 'failed' || crash.at > 2 ? 'completed' : 'rolledBack']);
    // The operator has seen why and does it again.
    if (phase === 'rolledBack') expect(await world.move({ isOldHostDown: true })).toMatchObject({ phase: 'completed' });
    await world.expectOneOwner('new');
  });

  it('is refused by the new VRA itself, whoever asks, as long as the old one has not let go', async () => {
    const world = await World.make();
    await world.stop('old');
    const before = world.record.definition;
    const moved = withRecoveryAt(before, new Map([[IDENTITY.vmId, { hostId: 'h-new', vra: addressOf('new') }]]));
    await expect(world.site.takeOverRecoveries(before, moved, { epoch: 1 })).rejects.toMatchObject({ code: 'VRA_NOT_RELEASED', message: expect.stringContaining('power its host off') });
    expect(world.writes).toBe(0);
  });

  it('is refused while that VRA has the mirrors locked: it runs, and only the ZVM does not hear it', async () => {
    const world = await World.make();
    world.silent.add('old');
    expect(await world.move({ isOldHostDown: true })).toMatchObject({ phase: 'rolledBack', reason: expect.stringContaining('in use by another process') });
    await world.expectOneOwner('old');
  });

  it('is found out by a VRA that runs on where locks do not reach from host to host: it lets go of everything', async () => {
    const world = await World.make();
    world.silent.add('old');
    await world.unlock();
    expect(await world.move({ isOldHostDown: true })).toMatchObject({ phase: 'completed' });
    while (world.recoveryCount('old') > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await world.expectOneOwner('new');
  });

  it('is refused while anybody writes the files, and done when that is over', async () => {
    const world = await World.make({ quietMs: 500 });
    await world.stop('old');
    const writer = setInterval(() => void utimes(join(world.folder, 'disk.raw'), new Date(), new Date()), 5);
    const run = await world.move({ isOldHostDown: true }).finally(() => clearInterval(writer));
    expect(run).toMatchObject({ phase: 'rolledBack', reason: expect.stringContaining('has changed although the host of its VRA is said to be down') });
    expect(await world.move({ isOldHostDown: true })).toMatchObject({ phase: 'completed' });
    await world.expectOneOwner('new');
  });
});
