import { BLOCK_BYTES } from '@tidemark/base';
import { diskFaultsOf, type DiskFault } from './disk-faults.js';
import { processFaultsOf, type ProcessFault } from './process-faults.js';
import { Random } from './random.js';
import { changingHosts } from './host-change.js';
import { limited, spaceOptions, type SpaceOptions } from './sim-space.js';

/** Fault kinds; each run has some of them, at its own rate. */
export const FAULTS = [
  'killRecovering', 'powerLossRecovering', 'killProtecting', 'powerLossProtecting', 'cutOne', 'cutAll', 'blockOneWay', 'duplicateConnection', 'slowDisk', 'fullDisk',
  'failSync', 'failAppend', 'rotJournal', 'stepClock', 'readErrors', 'writeErrors', 'refuseConfirm', 'insertTagged', 'forceSync', 'pauseRetirement',
  'moveVm', 'repeatDocuments', 'failoverTest', 'failover', 'repeatCommand',
] as const;
/** Drawn on their own: see {@link swarm}. */
export type Fault = (typeof FAULTS)[number] | 'move' | 'pin' | 'changeHost' | 'failMarks' | 'otherVersion' | DiskFault | ProcessFault;

/** Mean time between two of a kind; those not named here get the usual ones. Checkpoints on demand may come one right after the other. */
const MEAN_MS: Partial<Record<Fault, readonly number[]>> = {
  insertTagged: [15, 100, 400], failoverTest: [200, 1000], failover: [500, 1500, 4000], repeatCommand: [30, 200], moveVm: [300, 1200, 3000],
  forceSync: [40, 300, 1200],
};
/** Storage that fails for good ends what the rest of the run could show: rarely. What needs a checkpoint first: more often than the rest. */
const CHANCE: Partial<Record<Fault, number>> = { failSync: 0.08, failAppend: 0.08, rotJournal: 0.08, failoverTest: 0.4, failover: 0.4, repeatCommand: 0.4 };

/** What one run looks like: chosen by the seed, so that some runs are extreme in one way and quiet in all others. */
export interface SwarmOptions {
  readonly protectingCount: number;
  readonly recoveringCount: number;
  readonly vmVolumeBytes: readonly (readonly number[])[];
  /** VPGs, each a list of indexes of VMs. Each VM is in at least one. */
  readonly vpgs: readonly (readonly number[])[];
  readonly faults: ReadonlyMap<Fault, number>;
  readonly faultPhaseMs: number;
  readonly threadCount: number;
  readonly thinkMsMax: number;
  readonly writeSectorsMax: number;
  readonly readChance: number;
  readonly flushChance: number;
  readonly zeroesChance: number;
  /** Chance that a thread's next request goes to any VM, rather than to the same. */
  readonly hopChance: number;
  readonly budgetBytes: number;
  readonly frameBytesMax: number;
  readonly creditBytesMax: number;
  readonly segmentBytes: number;
  readonly isCompressed: boolean;
  readonly isGuarded: boolean;
  readonly commitChance: number;
  readonly intervalMs: number;
  readonly holdBoundMs: number;
  readonly historyMs: number;
  readonly delayMsMax: number;
  readonly spikeMsMax: number;
  readonly documentMsMax: number;
  readonly ioMsMax: number;
  /** Of a sync's reads, which may be much faster than the guest's writes. */
  readonly syncReadMsMax: number;
  readonly diskMsMax: number;
  /** The protected disks are behind an NBD server: no lock keeps a second VRA off them, the manager orders the hand-over. */
  readonly isLockless: boolean;
  /** Checkpoints are thinned all the time, and journals compacted. */
  readonly isThinned: boolean;
  /** Protecting hosts keep activity logs, and clear marks this long after the last write. */
  readonly isLogged: boolean;
  readonly activityPeriodMs: number;
  /** Mean time between two changes of the VMs' disks; 0: none. */
  readonly volumeChangeMs: number;
  /** Chance that protection turns round after a commit. */
  readonly reverseChance: number;
  /** Journals go from one recovering host to another. */
  readonly isChangingHosts?: boolean;
  /** Mean time between two edits of VPGs; undefined: there are none. */
  readonly editMs?: number;
  /** Limits by size; undefined: there are none. */
  readonly space?: SpaceOptions;
}

/** Planned moves, and protection that turns round after a commit. */
const MOVES_CHANCE = 0.2;

interface Theme {
  readonly faults: Partial<Record<Fault, number>>;
  readonly options: Partial<SwarmOptions>;
  readonly volumeFactor?: number;
}

/**
 * What is dangerous together: half of the runs are made of one of these, with whatever else the seed adds. A planted bug that was met in one of
 * a thousand runs of independent choices is met in one of thirty of these.
 */
const THEMES: readonly Theme[] = [
  // Syncs that begin and end all the time, markers right behind them, and local writes that take long between disk and capture.
  { faults: { forceSync: 40, insertTagged: 15 }, options: { ioMsMax: 50, syncReadMsMax: 0.5, delayMsMax: 0.5, spikeMsMax: 0, threadCount: 8, recoveringCount: 1 } },
  // A short history that moves on all the time, on several hosts, under views.
  { faults: { failoverTest: 200, pauseRetirement: 1200, killRecovering: 1200, stepClock: 400 }, options: { historyMs: 500, intervalMs: 60, recoveringCount: 3, segmentBytes: 16 * 1024, delayMsMax: 15 } },
  // Failovers that are interrupted.
  { faults: { failover: 500, failoverTest: 1000, powerLossRecovering: 1200, repeatCommand: 30 }, options: { commitChance: 0.4, historyMs: 5000, intervalMs: 200, faultPhaseMs: 7000 } },
  // VMs on the move, and documents that come late.
  { faults: { moveVm: 300, insertTagged: 15 }, options: { documentMsMax: 600, protectingCount: 2, ioMsMax: 3, delayMsMax: 2, thinkMsMax: 2 } },
  // Queues that overflow while links are away, or only seem to be there. Volumes are large, so that nothing
  // that is lost is soon written again.
  { faults: { cutAll: 400, blockOneWay: 400, powerLossRecovering: 1200 }, options: { budgetBytes: 24 * 1024, syncReadMsMax: 60, thinkMsMax: 2, writeSectorsMax: 8, threadCount: 8 }, volumeFactor: 8 },
  // Storage at its worst.
  { faults: { powerLossRecovering: 400, fullDisk: 1200, slowDisk: 1200 }, options: { segmentBytes: 16 * 1024, diskMsMax: 15, historyMs: 500 } },
  // Leaders that come and go over bad links.
  { faults: { insertTagged: 15, blockOneWay: 1200, killProtecting: 1200 }, options: { protectingCount: 3, hopChance: 1, thinkMsMax: 2, intervalMs: 60, delayMsMax: 15 } },
  // Links that clog for longer than a hold may last, under threads that go from VM to VM.
  { faults: { insertTagged: 100 }, options: { protectingCount: 3, hopChance: 1, thinkMsMax: 2, threadCount: 8, ioMsMax: 0.5, intervalMs: 60, delayMsMax: 2, spikeMsMax: 400 } },
  // Bits that turn, under hosts that restart.
  { faults: { rotJournal: 400, killRecovering: 400 }, options: { historyMs: 5000, segmentBytes: 16 * 1024, thinkMsMax: 2, writeSectorsMax: 8 } },
];

/** Much to thin, and segments enough. Nothing is retired by age meanwhile: the agreement on that is about checkpoints that stay. */
const THINNED: Partial<SwarmOptions> = { historyMs: 60_000, segmentBytes: 16 * 1024, intervalMs: 60 };

export function swarm(random: Random, seed: number, { isThinned = new Random(seed ^ 0x7e1dd).chance(0.2), isLimited, isChangingHosts }: Shape = {}): SwarmOptions {
  const options = withFaults({ ...chosen(random, seed, isThinned), isThinned }, [...diskFaultsOf(seed), ...processFaultsOf(seed)]);
  const space = isThinned || isChangingHosts === true ? undefined : spaceOptions(seed, isLimited);
  if (space !== undefined) return limited(options, seed, space);
  return isThinned ? { ...options, ...THINNED } : changingHosts(options, seed, isChangingHosts);
}

/** What the seed decides where it is not said. */
export interface Shape {
  readonly isThinned?: boolean;
  readonly isLimited?: boolean;
  readonly isChangingHosts?: boolean;
}

export const withFaults = (options: SwarmOptions, more: readonly (readonly [Fault, number])[]): SwarmOptions => ({ ...options, faults: new Map([...options.faults, ...more]) });

/** What was added later is chosen by a row of numbers of its own: the other choices of a seed stay. */
function chosen(random: Random, seed: number, isThinned: boolean): Omit<SwarmOptions, 'isThinned'> {
  const base = { ...independent(random), isLockless: new Random(seed ^ 0x10c1e55).chance(0.3), isLogged: false, activityPeriodMs: 0, volumeChangeMs: 0, reverseChance: 0 };
  const options = themed(random, base);
  const own = new Random(seed ^ 0x2e7e208);
  // What a move has settled on must not be thinned before it is open.
  if (!own.chance(MOVES_CHANCE) || isThinned) return options;
  const faults = new Map([...options.faults, ['move', own.pick([300, 800, 2000])] as const]);
  const isSmall = options.vmVolumeBytes.flat().every((bytes) => bytes < 100_000);
  const vmVolumeBytes = options.vmVolumeBytes.map((sizes) => sizes.map((bytes) => bytes * (isSmall ? 3 : 1)));
  return { ...options, faults, vmVolumeBytes, isLockless: options.isLockless && own.chance(0.5), commitChance: own.pick([0.5, 1]), reverseChance: own.pick([0.7, 1]), faultPhaseMs: 7000, ...(own.chance(0.7) && { vpgs: [options.vmVolumeBytes.map((_, index) => index)] }) };
}

const LOGGED_CHANCE = 0.3;
const SMALL_BYTES_MAX = 100_000;

/** Protecting hosts that keep activity logs, and die: by a row of numbers of its own. */
export function withActivityLogs(options: SwarmOptions, seed: number, isLogged?: boolean): SwarmOptions {
  const own = new Random(seed ^ LOGGED_ROW);
  if (!(isLogged ?? own.chance(LOGGED_CHANCE))) return options;
  const faults = new Map(options.faults);
  for (const fault of ['killProtecting', 'powerLossProtecting'] as const) if (own.chance(0.6)) faults.set(fault, own.pick([400, 1200, 3000]));
  if (own.chance(0.3)) faults.set('forceSync', own.pick([300, 1200]));
  if (own.chance(0.3)) faults.set('failMarks', own.pick([1200, 3000]));
  // Where all is written all the time, all is marked.
  const factor = own.pick([1, 4]);
  const isSmall = options.vmVolumeBytes.flat().every((bytes) => bytes < SMALL_BYTES_MAX);
  const vmVolumeBytes = options.vmVolumeBytes.map((sizes) => sizes.map((bytes) => bytes * (isSmall ? factor : 1)));
  return { ...options, faults, vmVolumeBytes, isLogged: true, activityPeriodMs: own.pick([0, 100, 500]) };
}

const LOGGED_ROW = 0xac77f77;

function themed(random: Random, base: Omit<SwarmOptions, 'isThinned'>): Omit<SwarmOptions, 'isThinned'> {
  if (random.chance(0.5)) return base;
  const { faults: dangerous, options, volumeFactor = 1 } = random.pick(THEMES);
  const all = new Map([...base.faults, ...(Object.entries(dangerous) as [Fault, number][])]);
  const vmVolumeBytes = base.vmVolumeBytes.map((sizes) => sizes.map((bytes) => bytes * volumeFactor));
  return { ...base, ...options, vmVolumeBytes, faults: all };
}

function independent(random: Random): Omit<SwarmOptions, 'isLockless' | 'isLogged' | 'activityPeriodMs' | 'volumeChangeMs' | 'reverseChance' | 'isThinned'> {
  const protectingCount = random.pick([1, 2, 2, 2, 3]);
  const vmCount = random.pick([3, 3, 3, 4]) - (protectingCount < 3 && random.chance(0.3) ? 1 : 0);
  return {
    protectingCount,
    recoveringCount: random.pick([1, 2, 2, 3]),
    vmVolumeBytes: Array.from({ length: vmCount }, () => volumes(random)),
    vpgs: vpgs(random, vmCount),
    faults: faults(random),
    faultPhaseMs: random.pick([2000, 4000, 7000]),
    threadCount: random.pick([2, 4, 8]),
    thinkMsMax: random.pick([2, 8, 30]),
    writeSectorsMax: random.pick([1, 8, 24]),
    readChance: random.pick([0, 0.2, 0.5]),
    flushChance: random.pick([0, 0.05, 0.2]),
    zeroesChance: random.pick([0, 0.1, 0.3]),
    hopChance: random.pick([0.3, 0.8, 1]),
    budgetBytes: random.pick([24, 100, 1000]) * 1024,
    frameBytesMax: random.pick([2000, 16_000, 64_000]),
    creditBytesMax: random.pick([30_000, 200_000]),
    segmentBytes: random.pick([16, 64, 256]) * 1024,
    isCompressed: random.chance(0.3),
    isGuarded: random.chance(0.5),
    commitChance: random.pick([0, 0.4, 1]),
    intervalMs: random.pick([60, 200, 300, 700]),
    holdBoundMs: 50,
    historyMs: random.pick([500, 1500, 5000, 60_000]),
    delayMsMax: random.pick([0.5, 2, 2, 15, 40]),
    spikeMsMax: random.pick([0, 0, 80, 400]),
    documentMsMax: random.pick([2, 60, 600]),
    ioMsMax: random.pick([0.5, 3, 12, 50]),
    syncReadMsMax: random.pick([0.5, 5, 60]),
    diskMsMax: random.pick([0.3, 2, 15]),
  };
}

function faults(random: Random): Map<Fault, number> {
  const isQuiet = random.chance(0.1);
  const chosen = new Map<Fault, number>();
  for (const fault of FAULTS) if (!isQuiet && random.chance(CHANCE[fault] ?? 0.25)) chosen.set(fault, random.pick(MEAN_MS[fault] ?? [400, 1200, 3000]));
  return chosen;
}

/** The first holds all VMs or all but one; others overlap it. A VM may be in up to three. */
function vpgs(random: Random, vmCount: number): number[][] {
  const all = Array.from({ length: vmCount }, (_, index) => index);
  const count = random.pick([1, 1, 2, 3]);
  if (count === 1) return [all];
  const others = Array.from({ length: count - 1 }, () => all.filter(() => random.chance(0.5)));
  const left = random.int(vmCount);
  const first = others.some((members) => members.includes(left)) && vmCount > 2 ? all.filter((index) => index !== left) : all;
  return [first, ...others.filter((members) => members.length > 0)];
}

function volumes(random: Random): number[] {
  const count = random.pick([1, 1, 2]);
  // Sizes need not be whole blocks.
  return Array.from({ length: count }, () => random.pick([6, 12, 20]) * BLOCK_BYTES + random.pick([0, 512]));
}
