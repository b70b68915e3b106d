import { ONE_JOURNAL_PLANTS } from './one-journal/journal-plants.js';
import { SPACE_PLANTS, TAKEOVER_PLANTS } from './plants-space.js';
import { EDIT_PLANTS } from './plants-edits.js';
import { VERSION_PLANTS } from './plants-versions.js';
import type { Fault, SwarmOptions } from './swarm.js';
import type { ViolationKind } from './world.js';

/** How a simulated host carries out effects wrongly: what is an adapter's duty in the product is this project's own code here. */
export type PlantFlag =
  | 'journalUnsynced' | 'mirrorUnsynced' | 'foldersUnsynced' | 'ackedOnArrival' | 'releaseHasty' | 'sealedLate' | 'holdUnbounded' | 'voteHasty' | 'capturedEarly'
  | 'readsUnheld' | 'fenceMissing' | 'applyHasty' | 'lockIgnored' | 'wordHasty' | 'pinIgnored' | 'epochVolatile' | 'epochNotBurned' | 'fenceForgotten' | 'mirrorHashed'
  | 'fenceVolatile' | 'claimNeverOver' | 'oldWordSettles' | 'moveHasty' | 'unreadableIsZeroes' | 'lockLapses' | 'marksUnsynced' | 'pinVolatile' | 'guardIgnored' | 'letGoHasty' | 'claimSkipped' | 'editVolatile' | 'editHalfUndone' | 'versionGivesUp';

/**
 * A bug planted on purpose: each breaks one sentence of the design that names a danger, and the checkers must notice. A flag changes how a
 * simulated host carries out effects; a mutation changes one place in the source of a real engine while that module is loaded for the run.
 */
export interface Plant {
  readonly name: string;
  /** The guarantee. */
  readonly breaks: string;
  /** Within so many seeds it must be caught. */
  readonly seedBudget: number;
  /** What the checkers must say: another violation does not count, the run was broken by something else that the bug leads to. */
  readonly expects: readonly ViolationKind[];
  /** Shows only where journals are thinned and compacted. */
  readonly isThinned?: true;
  /** Shows only under this fault: every run has it, about every so many ms. */
  readonly under?: readonly [Fault, number];
  /** Shows only where protecting hosts keep activity logs. */
  readonly isLogged?: true;
  /** Shows only where journals go from host to host. */
  readonly isChangingHosts?: true;
  /** Shows only where journals and scratch have limits. */
  readonly isLimited?: true;
  /** Shows only where the volumes of VMs change. */
  readonly isChanging?: true;
  /** Shows only where VPGs are edited. */
  readonly isEdited?: true;
  /** Of every run, where few have it by themselves. */
  readonly shape?: Partial<SwarmOptions>;
  /** Default: the data plane of two sites. */
  readonly world?: 'ownership' | 'oneJournal';
  readonly flag?: PlantFlag;
  readonly mutation?: Mutation;
}

export interface Mutation {
  /** From the root of the repository. */
  readonly file: string;
  /** Exactly once in that file. */
  readonly find: string;
  readonly replace: string;
}

const SENDER = 'libs/core/replication/src/sender.ts';
const SEND_QUEUE = 'libs/core/replication/src/send-queue.ts';
const SYNC_WALK = 'libs/core/sync/src/sync-walk.ts';
const RETIREMENT = 'libs/core/checkpoint/src/retirement.ts';
const JOURNAL = 'libs/core/journal/src';
const JOURNAL_FILE = 'libs/io/journal-file/src';

const CAPTURE: readonly Plant[] = [
  { name: 'shipped-before-written', breaks: 'the protected volume first: what failed there is not shipped', seedBudget: 40, expects: ['head', 'image'], flag: 'capturedEarly' },
  { name: 'read-passes-held-write', breaks: 'reads that overlap a held write are held', seedBudget: 200, expects: ['cut'], flag: 'readsUnheld' },
  { name: 'hold-without-bound', breaks: 'at most 50 ms of hold for a guest write', seedBudget: 60, expects: ['hold'], flag: 'holdUnbounded' },
  {
    name: 'overflow-forgets-the-write', breaks: 'a captured write is in the queue or in the bitmap', seedBudget: 60, expects: ['head', 'image'],
    mutation: {
      file: SENDER,
      find: `    this.#walk.mark(write.volume, write.offset, write.offset + write.length);
    this.#turnLink('queueDropped');`,
      replace: `    this.#turnLink('queueDropped');`,
    },
  },
  {
    name: 'credit-ignored', breaks: 'no queue passes its limit: credit in bytes', seedBudget: 60, expects: ['limit', 'protocol'],
    mutation: { file: SEND_QUEUE, find: 'Math.min(limits.rawBytesMax, limits.creditLeftBytes, FRAME_BODY_BYTES_MAX)', replace: 'Math.min(limits.rawBytesMax, FRAME_BODY_BYTES_MAX)' },
  },
];

const SYNC: readonly Plant[] = [
  { name: 'mirror-hashed-for-the-head', breaks: 'a delta sync compares with the head: mirror and journal, never the mirror alone', seedBudget: 60, expects: ['head', 'image'], flag: 'mirrorHashed' },
  { name: 'sync-ends-before-capture', breaks: 'a sync ends behind every write that its blocks contain', seedBudget: 200, expects: ['image'], flag: 'fenceMissing' },
  {
    name: 'sync-read-not-voided', breaks: 'a captured write that overlaps a sync read voids that part', seedBudget: 60, expects: ['head', 'image'],
    mutation: { file: SYNC_WALK, find: 'read.voids.push(common);', replace: '' },
  },
  {
    name: 'sync-ends-with-reads-in-flight', breaks: 'no checkpoint is listed until syncEnd, and that follows the last block', seedBudget: 60, expects: ['head', 'image'],
    mutation: { file: SYNC_WALK, find: 'return this.#reads.size === 0 && this.#dirty', replace: 'return this.#dirty' },
  },
  {
    name: 'verdict-over-a-write', breaks: 'a verdict counts only for blocks that were not written since their comparison began', seedBudget: 100, expects: ['head', 'image'],
    mutation: { file: SYNC_WALK, find: '    clearOutwards(bitmapOf(this.#unverified, volume), start, end);\n', replace: '' },
  },
  {
    name: 'sync-blocks-clean-before-ack', breaks: 'blocks in flight count as dirty until acknowledged', seedBudget: 100, expects: ['head', 'image'],
    mutation: { file: SENDER, find: 'if (isVolumeRecord(record.type)) this.#walk.mark(', replace: 'if (record.type === RecordType.write || record.type === RecordType.zeroes) this.#walk.mark(' },
  },
  {
    name: 'sent-counts-as-durable', breaks: 'only what is acknowledged may be forgotten', seedBudget: 100, expects: ['head', 'image'],
    mutation: {
      file: SEND_QUEUE,
      find: `  *all(): Iterable<StreamRecord> {
    for (let index = this.#head;`,
      replace: `  *all(): Iterable<StreamRecord> {
    for (let index = this.#head + this.#sentCount;`,
    },
  },
];

const WIRE: readonly Plant[] = [
  { name: 'ack-on-arrival', breaks: 'an ack says: durable up to', seedBudget: 40, expects: ['lost'], flag: 'ackedOnArrival' },
  { name: 'fence-forgotten', breaks: 'a protected site that comes back after a failover is fenced', seedBudget: 100, expects: ['ownership', 'stuck'], flag: 'fenceForgotten' },
];

const CUSTODY_RULES = 'libs/core/vpg/src/disk-custody.ts';

/** One VRA of a site has a disk open. */
const CUSTODY: readonly Plant[] = [
  { name: 'disk-opened-without-lock', breaks: 'a VRA opens a disk under its lock', seedBudget: 60, expects: ['writers'], flag: 'lockIgnored' },
  {
    name: 'disk-given-on-an-old-word', breaks: 'a disk without lock is given away when its VRA has let go after the last document that named it', seedBudget: 200, expects: ['writers'],
    mutation: { file: CUSTODY_RULES, find: ' || (this.#newestWith.get(vmId) ?? -1) >= word.revision', replace: '' },
  },
  { name: 'word-before-the-deed', breaks: 'a VRA says that it runs a document when it has carried it out', seedBudget: 200, expects: ['writers'], flag: 'wordHasty', under: ['moveVm', 300], shape: { isLockless: true, documentMsMax: 600 } },
];

const BARRIER: readonly Plant[] = [
  { name: 'release-before-all-marked', breaks: 'all VRAs have marked, then the leader releases', seedBudget: 60, expects: ['cut'], flag: 'releaseHasty' },
  { name: 'seal-after-bound', breaks: 'a VRA that released by itself never seals', seedBudget: 300, expects: ['cut'], flag: 'sealedLate' },
  { name: 'vote-not-durable', breaks: 'no term has two leaders: no two checkpoints carry one number', seedBudget: 200, expects: ['number'], flag: 'voteHasty' },
  {
    name: 'successor-reuses-term', breaks: 'a successor takes over with the next term', seedBudget: 60, expects: ['number'],
    mutation: { file: 'libs/core/checkpoint/src/terms.ts', find: 'Math.max(firstTermOf(version), seenTerm + 1)', replace: 'Math.max(firstTermOf(version), seenTerm)' },
  },
  {
    name: 'listed-without-seal', breaks: 'a checkpoint is listed when its marker and its seal are durable', seedBudget: 60, expects: ['cut'],
    mutation: {
      file: `${JOURNAL}/durable-state.ts`,
      find: 'arrivedMs: header.clockMs, arrivedAtMs: header.atMs });',
      replace: 'arrivedMs: header.clockMs, arrivedAtMs: header.atMs }); this.ledger.seal(marker, header.incarnation);',
    },
  },
];

const STORAGE: readonly Plant[] = [
  { name: 'ack-before-fdatasync', breaks: 'ack only after fdatasync', seedBudget: 40, expects: ['lost'], flag: 'journalUnsynced' },
  { name: 'folder-not-synced', breaks: 'a segment is there when its name is durable', seedBudget: 60, expects: ['lost', 'gone'], flag: 'foldersUnsynced' },
  { name: 'mirror-not-synced', breaks: 'apply: mirror, fdatasync, then appliedSeq', seedBudget: 100, expects: ['head', 'image'], flag: 'mirrorUnsynced' },
  {
    name: 'sync-covers-later-appends', breaks: 'a sync makes durable only what was appended before it was issued', seedBudget: 100, expects: ['lost'],
    mutation: { file: `${JOURNAL}/commit-log.ts`, find: 'const durable = this.#inSync;', replace: 'const durable = [...this.#inSync, ...this.#appended.splice(0)];' },
  },
  {
    name: 'base-position-before-mirror-sync', breaks: 'the initial sync: mirror, sync, then a record that says so, then the ack', seedBudget: 100, expects: ['lost', 'head', 'image'],
    mutation: { file: `${JOURNAL}/direct-writer.ts`, find: "effects.push({ type: 'mirrorSync', owner: 'direct' });", replace: "const early = this.#syncing; this.#syncing = []; this.#record(early, effects);" },
  },
  {
    name: 'corruption-is-a-torn-tail', breaks: 'corruption of acknowledged data is never truncated, and is loud', seedBudget: 200, expects: ['lost', 'gone'],
    mutation: { file: `${JOURNAL}/recovery-table.ts`, find: "{ isCommitted: true }, verdict: 'corrupt'", replace: "{ isCommitted: true }, verdict: 'tornTail'" },
  },
  {
    name: 'segment-freed-before-applied', breaks: 'a segment is freed when the mirror holds its writes durably', seedBudget: 100, expects: ['head', 'image', 'view'],
    mutation: { file: `${JOURNAL}/apply-jobs.ts`, find: 'oldest.lastSeq > state.snapshot.appliedSeq', replace: 'oldest.lastSeq > state.snapshot.retiredSeq' },
  },
  {
    name: 'zeroes-out-of-order', breaks: 'zeroes take their place in the stream like every write', seedBudget: 100, expects: ['head', 'image', 'view'],
    mutation: {
      file: `${JOURNAL_FILE}/mirrors.ts`,
      find: 'for (const record of records) {\n      if (!isVolumeRecord(record.type)) continue;',
      replace: 'for (const record of [...records].sort((a, b) => Number(a.payload === undefined) - Number(b.payload === undefined))) {\n      if (!isVolumeRecord(record.type)) continue;',
    },
  },
];

const RETIRING: readonly Plant[] = [
  { name: 'apply-before-all-retired', breaks: 'retire is durable for the whole VPG before any VM applies', seedBudget: 60, expects: ['apply'], flag: 'applyHasty' },
  { name: 'retired-under-a-view', breaks: 'a view pins its checkpoint', seedBudget: 150, expects: ['pin'], flag: 'pinIgnored' },
  {
    name: 'history-cut-short', breaks: 'nothing younger than the history window is retired by age', seedBudget: 60, expects: ['retirement'],
    mutation: { file: RETIREMENT, find: 'checkpoint.ageMs >= historyMs)', replace: 'checkpoint.ageMs >= historyMs / 2)' },
  },
  {
    name: 'age-by-wall-clock', breaks: 'age runs on monotonic time: a step of the clock retires nothing', seedBudget: 200, expects: ['retirement'],
    mutation: {
      file: `${JOURNAL}/journal.ts`,
      find: 'return { ...checkpoint, arrivedMs: checkpoint.arrivedMs + this.#clockOffsetMs };',
      replace: 'const { clocks } = this.#options; return { ...checkpoint, arrivedMs: checkpoint.arrivedAtMs - clocks.wallClockMs() + clocks.monotonicMs() };',
    },
  },
  {
    name: 'retired-without-asking', breaks: 'all recovering VRAs are asked for pins before anything is retired', seedBudget: 150, expects: ['pin'],
    mutation: { file: RETIREMENT, find: "else this.#begin('asking', checkpointId);", replace: "else this.#begin('retiring', checkpointId);" },
  },
];

const RECOVERY: readonly Plant[] = [
  { name: 'epoch-not-reserved', breaks: 'the epoch is durable on every recovering VRA before the first VM is started', seedBudget: 60, expects: ['ownership'], flag: 'epochVolatile' },
  { name: 'epoch-not-burned', breaks: 'rollback burns the epoch', seedBudget: 100, expects: ['ownership'], flag: 'epochNotBurned' },
  {
    name: 'burned-epoch-reserved-again', breaks: 'an epoch is used once', seedBudget: 200, expects: ['ownership'],
    mutation: { file: `${JOURNAL}/rules.ts`, find: 'return epoch > highestEpoch ? undefined', replace: 'return epoch > tail.epoch ? undefined' },
  },
  {
    name: 'view-shows-the-older-write', breaks: 'the image at C equals the protected disks after exactly the writes before C', seedBudget: 60, expects: ['view'],
    mutation: { file: `${JOURNAL}/image-map.ts`, find: 'const write = heap.top;', replace: 'const write = heap.top - (heap.size > 1 && heap.top % 7 === 0 ? 1 : 0);' },
  },
  {
    name: 'scratch-loses-a-flush', breaks: "the guest's FLUSH is the group commit of scratch", seedBudget: 300, expects: ['view'],
    mutation: { file: `${JOURNAL_FILE}/scratch-journal.ts`, find: 'if (this.#syncedNo === recordNo) return;', replace: 'if (recordNo >= 0) return;' },
  },
  {
    name: 'promotion-lets-writes-pass', breaks: 'promotion takes a block out of the overlay only if it was not rewritten meanwhile', seedBudget: 200, expects: ['view'],
    mutation: { file: `${JOURNAL_FILE}/view-volume.ts`, find: 'this.#dirty?.insert(offset, offset + length, true);', replace: '' },
  },
];

/** Every move commits, and protection turns round. */
const TURNING: Partial<SwarmOptions> = { isLockless: false, commitChance: 1, reverseChance: 1, faultPhaseMs: 7000 };

/** Moves, and protection in the other direction. */
const REVERSE: readonly Plant[] = [
  { name: 'moved-before-settled', breaks: 'a move loses nothing: its checkpoint is behind every completed write', seedBudget: 200, expects: ['lost'], flag: 'moveHasty' },
  {
    name: 'basis-of-one-side', breaks: 'a bitmap sync needs old disks that are still the image at C', seedBudget: 300, expects: ['head', 'image'],
    mutation: { file: 'libs/core/replication/src/open-decision.ts', find: 'basisId !== undefined && reply.basisId === basisId && reply.isPreseeded', replace: 'basisId !== undefined && reply.isPreseeded' },
  },
  {
    name: 'changes-since-c-forgotten', breaks: 'every block written since C is in the bitmap', seedBudget: 400, expects: ['head', 'image'], under: ['move', 800], shape: TURNING,
    mutation: {
      file: `${JOURNAL_FILE}/view-volume.ts`,
      find: 'this.changedBlocks?.mark(offset, offset + source.byteLength);',
      replace: '',
    },
  },
];

const OWNERSHIP_RULES = 'libs/core/vpg/src/ownership.ts';
const PLAN_STEPS = 'libs/core/recovery/src/plans.ts';

/** In the world of managers, partitions and people who fail over: ownership/run-ownership.ts. */
const OWNERSHIP: readonly Plant[] = [
  {
    name: 'failover-without-reservation', world: 'ownership', breaks: 'the epoch is reserved on every recovering VRA before the first VM of a failover is started', seedBudget: 20, expects: ['ownership'],
    mutation: { file: PLAN_STEPS, find: `    undoable('reserveEpoch', 'reserving the ownership epoch on every recovering VRA', 2),\n`, replace: '' },
  },
  {
    name: 'commit-that-goes-back', world: 'ownership', breaks: 'a failover of which one VRA has committed is not rolled back', seedBudget: 100, expects: ['ownership', 'stuck'],
    mutation: { file: PLAN_STEPS, find: `forward('commitEpoch', 'committing`, replace: `plain('commitEpoch', 'committing` },
  },
  {
    name: 'rollback-without-burning', world: 'ownership', breaks: 'rollback burns the reserved epoch', seedBudget: 20, expects: ['ownership', 'stuck'],
    mutation: { file: PLAN_STEPS, find: `    forward('burnEpoch', 'burning the reserved epoch on every recovering VRA', 2),\n`, replace: '' },
  },
  {
    name: 'refusal-fences-nobody', world: 'ownership', breaks: 'a protected site that comes back is fenced by the first word of the other one, from VRA to VRA too', seedBudget: 300, expects: ['ownership'],
    mutation: { file: OWNERSHIP_RULES, find: 'isWhole ? vmIds : refusedVmIds', replace: 'isWhole ? vmIds : []' },
  },
  {
    name: 'fenced-before-the-commit', world: 'ownership', breaks: 'a failover that is rolled back fences nobody', seedBudget: 20, expects: ['ownership'],
    mutation: { file: OWNERSHIP_RULES, find: `new Set(['promoting',`, replace: `new Set(['failingOver', 'promoting',` },
  },
  {
    name: 'claimed-without-force', world: 'ownership', breaks: 'both sites own the VMs only after a forced action', seedBudget: 20, expects: ['ownership'],
    mutation: { file: OWNERSHIP_RULES, find: '  if (isForced) return undefined;', replace: '  if (isForced || !isForced) return undefined;' },
  },
  { name: 'claim-never-over', world: 'ownership', breaks: 'a claim from nobody keeps no later failover from fencing', seedBudget: 600, expects: ['ownership'], flag: 'claimNeverOver' },
  { name: 'claim-over-by-an-older-word', world: 'ownership', breaks: 'a claim is over by what the other manager says after it', seedBudget: 600, expects: ['ownership'], flag: 'oldWordSettles' },
  { name: 'fence-not-durable', world: 'ownership', breaks: 'a fence outlives the manager that put it up', seedBudget: 100, expects: ['ownership'], flag: 'fenceVolatile' },
];

const THINNING: readonly Plant[] = [
  {
    name: 'compaction-drops-a-version', breaks: 'what a kept checkpoint shows stays when a newer version follows behind its marker', seedBudget: 40, expects: ['image', 'view'], isThinned: true,
    mutation: { file: `${JOURNAL}/version-sweep.ts`, find: '    this.#coverage.clear();\n    while', replace: '    while' },
  },
];

const REPLICATION = 'libs/core/replication/src';

/** After a crash of a protecting host only what is marked is compared. */
const ACTIVITY: readonly Plant[] = [
  { name: 'mark-not-durable', breaks: 'a mark of the activity log is durable before the first write to its extent', seedBudget: 100, expects: ['head', 'image'], isLogged: true, flag: 'marksUnsynced' },
  {
    name: 'write-passes-its-mark', breaks: 'a write waits until the marks of its extents are durable', seedBudget: 100, expects: ['head', 'image'], isLogged: true,
    mutation: { file: `${REPLICATION}/activity-log.ts`, find: 'return isDurable || !this.isGating;', replace: 'return true;' },
  },
  {
    name: 'mark-cleared-before-flush', breaks: 'a mark goes when the protected volume was flushed', seedBudget: 100, expects: ['head', 'image'], isLogged: true,
    mutation: { file: 'libs/io/engine-host/src/stream-activity.ts', find: 'slots.map(async (slot) => await guest.file(slot).flush())', replace: '[Promise.resolve()].concat(slots.map(() => guest && Promise.resolve()))' },
  },
];

/** Volumes that grow, are added and removed while they are protected. */
const VOLUMES: readonly Plant[] = [
  {
    name: 'removed-mirror-goes-at-once', breaks: 'the mirror of a removed volume stays as long as a held checkpoint has it', seedBudget: 100, expects: ['image', 'view'], isChanging: true,
    mutation: { file: `${JOURNAL}/durable-state.ts`, find: "return [...needed, { volumes: this.snapshot.volumes }].some(", replace: "return [...needed.slice(0, 0), { volumes: this.snapshot.volumes }].some(" },
  },
  {
    name: 'added-volume-not-copied', breaks: 'an added volume is dirty until all of it was copied', seedBudget: 100, expects: ['head', 'image', 'view'], isChanging: true,
    mutation: { file: SYNC_WALK, find: 'const knownBytes = before[volume]?.sizeBytes ?? 0;', replace: 'const knownBytes = before[volume]?.sizeBytes ?? sizeBytes;' },
  },
  {
    name: 'grown-part-not-copied', breaks: 'what a volume has grown by is dirty: what was written there before the stream had it is sent', seedBudget: 100, expects: ['head', 'image', 'view'], isChanging: true,
    mutation: { file: SYNC_WALK, find: '      if (sizeBytes > knownBytes) this.mark(volume, knownBytes, sizeBytes);\n', replace: '' },
  },
  {
    name: 'old-image-in-the-new-size', breaks: 'the image at a checkpoint has the volumes of its time, in the sizes of its time', seedBudget: 100, expects: ['image', 'view'], isChanging: true,
    mutation: { file: `${JOURNAL}/durable-state.ts`, find: 'this.#volumeSets.findLast(({ afterSeq }) => afterSeq < seq)?.volumes ?? this.snapshot.volumes', replace: 'this.snapshot.volumes' },
  },
];

const CLOCKS: readonly Plant[] = [
  {
    name: 'retires-over-a-clock-step', breaks: 'where the two clocks of a host contradict each other, no more time is counted than both have seen', seedBudget: 200, expects: ['retirement'],
    mutation: { file: 'libs/core/checkpoint/src/running-clock.ts', find: 'isStep ? Math.min(countedMs, seenMs) : countedMs', replace: 'countedMs' },
  },
];

/** Records of one length, in segments that are soon left behind. */
const SHORT: Partial<SwarmOptions> = { segmentBytes: 16 * 1024, writeSectorsMax: 1, zeroesChance: 0, historyMs: 500, intervalMs: 60, thinkMsMax: 8 };

/** The medium gives errors, or other bytes than were written there; processes stop for a while and go on. */
const MEDIA: readonly Plant[] = [
  { name: 'unreadable-mirror-reads-as-zeroes', breaks: 'what the medium does not give back is an error, never other bytes', seedBudget: 100, expects: ['view', 'head', 'image'], flag: 'unreadableIsZeroes', under: ['unreadableSector', 60] },
  {
    name: 'sync-passes-over-the-unreadable', breaks: 'what a sync cannot read stays to be copied, and the sync does not end', seedBudget: 100, expects: ['head', 'image'], under: ['unreadableSector', 60],
    mutation: { file: SYNC_WALK, find: '    this.#markDirty(read.volume, read.extent.start, read.extent.end);\n    bitmapOf(this.#unreadable, read.volume)', replace: '    bitmapOf(this.#unreadable, read.volume)' },
  },
  {
    name: 'index-keeps-its-journal-closed', breaks: 'an index that cannot be read is made again from its segments', seedBudget: 200, expects: ['stuck'], under: ['unreadableSector', 60],
    mutation: { file: `${JOURNAL_FILE}/run-file.ts`, find: '  } catch (cause) {\n    throw damaged(path, what, cause);', replace: '  } catch (cause) {\n    throw cause;' },
  },
  {
    name: 'another-record-is-applied', breaks: 'a record that the disk has put in the place of another one is never applied in its stead', seedBudget: 100, expects: ['image', 'head', 'view'], under: ['misdirectedWrite', 60], shape: SHORT,
    mutation: { file: `${JOURNAL}/replay.ts`, find: 'return header.recordNo === this.recordNo;', replace: 'return header.recordNo > 0;' },
  },
  {
    name: 'another-frame-is-shown', breaks: 'a view shows the bytes of the frame that its index names, or none', seedBudget: 100, expects: ['view'], under: ['misdirectedWrite', 60], shape: { ...SHORT, isCompressed: true, historyMs: 5000 },
    mutation: { file: `${JOURNAL_FILE}/frame-reader.ts`, find: ' || piece.seq < header.firstSeq || piece.seq > header.lastSeq', replace: '' },
  },
  {
    name: 'another-page-is-looked-up', breaks: 'a page of an index is the one that was asked for', seedBudget: 300, expects: ['view', 'error'], under: ['misdirectedWrite', 60],
    // The checksum in its fence says which page it has to be, and so does its number.
    mutation: {
      file: `${JOURNAL}/index-page.ts`,
      find: `page[PAGE_AT.crc] !== pageCrc || crc32c(bytes.subarray(4)) !== pageCrc) return undefined;
  if (page[PAGE_AT.magic] !== MAGIC[kind] || page[PAGE_AT.page] !== number`,
      replace: `page[PAGE_AT.crc] !== crc32c(bytes.subarray(4))) return undefined;
  if (page[PAGE_AT.magic] !== MAGIC[kind]`,
    },
  },
  { name: 'lock-lapses-in-a-pause', breaks: 'a VRA opens a disk under its lock, which its holder keeps for as long as the process is there', seedBudget: 100, expects: ['writers'], flag: 'lockLapses', under: ['pause', 60] },
];

export const PLANTS: readonly Plant[] = [...CAPTURE, ...SYNC, ...WIRE, ...CUSTODY, ...BARRIER, ...STORAGE, ...RETIRING, ...RECOVERY, ...REVERSE, ...OWNERSHIP, ...THINNING, ...CLOCKS, ...MEDIA, ...ACTIVITY, ...VOLUMES, ...SPACE_PLANTS, ...TAKEOVER_PLANTS, ...ONE_JOURNAL_PLANTS, ...EDIT_PLANTS, ...VERSION_PLANTS];
