import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { JournalFile } from '@tidemark/journal-file';
import { ActivityLogFile } from './activity-log-file.js';
import { CheckpointPins } from './checkpoint-pins.js';
import { JournalOwner } from './journal-owner.js';
import type { RecoveringState } from './recovering-types.js';
import type { RecoveryHost } from './recovery-host.js';
import { Scrubber } from './scrubber.js';
import { StateFile } from './state-file.js';
import type { DesiredState, ProtectionSpec, RecoverySpec } from './types.js';
import { slotsToBe, VolumeMap } from './volume-map.js';
import { VoteStore } from './vote-store.js';

/** With every field that may be absent: a new one that the golden file does not have does not compile. */
type Whole<T> = T extends readonly (infer Item)[] ? readonly Whole<Item>[] : T extends object ? { readonly [Key in keyof T]-?: Whole<Exclude<T[Key], undefined>> } : T;
/** The operator's word is part of a command, never of what is kept. */
type Kept<T> = T extends RecoverySpec ? Omit<T, 'isOldHostDown'> : T extends readonly (infer Item)[] ? readonly Kept<Item>[] : T extends object ? { readonly [Key in keyof T]: Kept<T[Key]> } : T;

const GOLDEN = fileURLToPath(new URL('../testdata/state/', import.meta.url));
const VPG_ID = '6f0f9d1e-7f0a-4a53-9d0c-2f4f6f0f7a01';
const [SITE_A, SITE_B] = ['a1b2c3d4-0000-4000-8000-00000000000a', 'a1b2c3d4-0000-4000-8000-00000000000b'];
const CHECKPOINT_ID = 2 ** 24 * 8193 + 5;
const member = (n: number) => ({ vra: { vraId: `vra-${String(n)}`, address: `10.0.0.${String(n)}`, controlPort: 4007, dataPort: 4008 }, vmIds: [`vm-${String(n)}`] });

const DESIRED: Whole<DesiredState> = {
  revision: 17,
  trust: { sites: [{ siteId: SITE_A, caPem: ['-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n'], voided: [{ role: 'vra', instanceId: 'vra-9', beforeMs: 1_763_800_000_000 }] }] },
  attachedVms: [{ vmId: 'vm-1', disks: [{ diskId: 'scsi:0:0', exportName: 'vm-1-ä', path: '/datastores/a/vm-1.raw', sizeBytes: 4096 }], isFenced: true }],
  protections: [{
    vpgId: VPG_ID, vmId: 'vm-1', epoch: 2, diskIds: ['scsi:0:0', ''], volumeBytes: [4096, 0], tempVolumes: [0], recoveringVra: member(2).vra, recoverySiteId: SITE_B,
    isCompressed: true, priority: 'medium', basisId: 'b', isPaused: false,
  }],
  barriers: [{ vpgId: VPG_ID, version: 3, epoch: 2, intervalMs: 5000, members: [member(1)] }],
  throttle: { bytesPerSecond: 1_000_000.5, window: { fromMinute: 480, toMinute: 1080, bytesPerSecond: null }, utcOffsetMinutes: 60, share: 0.5 },
};
const RECOVERY: Whole<Kept<RecoverySpec>> = {
  vpgId: VPG_ID, vmId: 'vm-1', protectedSiteId: SITE_A, epoch: 2, recoverers: [member(2)],
  volumes: [{ diskId: 'scsi:0:0', sizeBytes: 4096, mirrorPath: '/datastores/b/vpg/vm-1/0.mirror', isPreseeded: true, isRemoved: false }],
  journalFolder: '/datastores/b/vpg/vm-1/journal', basis: { basisId: 'b', fingerprints: ['12:4096:1763800000000000000:1763800000000000000'] }, moveNumber: 1,
  datastore: { path: '/datastores/b', capacityBytes: 2 ** 40 }, historyMs: 86_400_000,
  limits: { journalHardBytes: 2 ** 30, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null }, thinning: { keepAllMs: 3_600_000, hourlyAfterMs: 86_400_000 },
};
const RECOVERING: Whole<Kept<RecoveringState>> = {
  recoveries: [RECOVERY],
  views: [{
    spec: { viewId: 'view-1', vpgId: VPG_ID, vmId: 'vm-1', checkpointId: CHECKPOINT_ID, purpose: 'live', volumes: [{ diskId: 'scsi:0:0', exportName: 'vm-1-recovered' }] }, isPromoting: true,
  }],
  removals: [{ spec: { ...RECOVERY, vmId: 'vm-2' }, isMirrorKept: false, viewIds: ['view-2'] }],
};
const PROTECTION: ProtectionSpec = { ...DESIRED.protections[0] as ProtectionSpec, diskIds: ['scsi:0:0'], volumeBytes: [4096] };

const told: string[] = [];
const log = { info: () => undefined, warn: () => undefined, error: (_: object, message: string) => void told.push(message) };
let folder: string;
beforeEach(async () => {
  told.length = 0;
  folder = await mkdtemp(join(tmpdir(), 'tidemark-state-files-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

const golden = async (name: string): Promise<string> => await readFile(join(GOLDEN, name), 'utf8');
const written = async (name: string): Promise<string> => await readFile(join(folder, name), 'utf8');
const recovery = (): RecoverySpec => ({ ...RECOVERY, journalFolder: folder });

/** Made by an independent encoder; a change of these files is a change of the format. */
describe('state files of a VRA', () => {
  it.each<[string, object]>([['desired.json', DESIRED], ['recovering.json', RECOVERING]])('%s is written and read as ever', async (name, document) => {
    const file = new StateFile<object>(join(folder, name), '');
    await file.save(document);
    expect(await written(name)).toBe(await golden(name));
    expect(await new StateFile<object>(join(GOLDEN, name), '').load()).toEqual(document);
  });

  it('votes.json is written and read as ever', async () => {
    const votes = new VoteStore(join(folder, 'votes.json'));
    await votes.save(VPG_ID, { term: 8194, leaderVraId: 'vra-1' });
    expect(await written('votes.json')).toBe(await golden('votes.json'));
    const again = new VoteStore(join(GOLDEN, 'votes.json'));
    await again.load();
    expect(again.of(VPG_ID)).toEqual({ term: 8194, leaderVraId: 'vra-1' });
    void votes.save(VPG_ID, { term: 8195, leaderVraId: 'vra-2' });
    await votes.settled();
    expect(await written('votes.json')).toContain('8195');
  });

  it('owner.json is written and read as ever, by who takes a journal over and by who lets go of it', async () => {
    await writeFile(join(folder, '0000000001.segment'), '');
    await (await JournalOwner.look({ ...recovery(), isOldHostDown: true }, 'vra-2')).claim();
    expect(await written('owner.json')).toBe(await golden('owner.json'));
    await JournalOwner.letGo(folder, { vraId: 'vra-2', moveNumber: 2 });
    expect(await written('owner.json')).toBe(await golden('owner-released.json'));
    await copyFile(join(GOLDEN, 'owner-released.json'), join(folder, 'owner.json'));
    await expect(JournalOwner.movedFrom(recovery(), 'vra-2')).resolves.toMatchObject({ code: 'VRA_MOVED' });
    await expect(JournalOwner.assertOwned(recovery(), 'vra-2')).rejects.toMatchObject({ code: 'VRA_MOVED' });
    expect((await JournalOwner.look({ ...recovery(), moveNumber: 2 }, 'vra-3')).isReleased).toBe(true);
  });

  it('pins.json is written and read as ever', async () => {
    const journal = { clockMs: 1000, holds: () => true, pin: () => undefined, unpin: () => undefined } as unknown as JournalFile;
    const pins = new CheckpointPins(folder, 'key', log);
    pins.attach(journal);
    await pins.put({ name: 'backup 2026-11-22', checkpointId: CHECKPOINT_ID, keepForMs: 86_400_000 });
    await pins.put({ name: 'Umbau ä', checkpointId: CHECKPOINT_ID + 1, keepForMs: null });
    expect(await written('pins.json')).toBe(await golden('pins.json'));
    const again = new CheckpointPins(GOLDEN, 'key', log);
    await again.load();
    again.attach(journal);
    expect(again.list).toEqual(pins.list);
  });

  it('scrub.json is written and read as ever; a damaged one keeps nobody from starting, and is replaced', async () => {
    const key = `${VPG_ID}/vm-1`;
    const status = { completedAtMs: 1_763_800_000_000, detail: 'segment 3: checksum', affectedIds: [CHECKPOINT_ID, CHECKPOINT_ID + 1] };
    const kept = new Scrubber(GOLDEN, log);
    await kept.load();
    expect(kept.statusOf(key)).toEqual(status);
    await writeFile(join(folder, 'scrub.json'), (await golden('scrub.json')).replace('"throughSegment": 3', '"throughSegment": 2'));
    const scrubber = new Scrubber(folder, log);
    await scrubber.load();
    expect([scrubber.statusOf(key).completedAtMs, told]).toEqual([null, [expect.stringContaining('it begins anew')]]);
    const found: { verdict?: object } = {};
    const checkpoints = status.affectedIds.map((checkpointId) => ({ checkpointId, markerSeq: 9 }));
    const journal = { segments: [{ segment: 3, bytes: 1 }, { segment: 4, bytes: 1 }], verifySegment: () => Promise.resolve(found.verdict), checkpoints: () => checkpoints, distrust: () => undefined };
    const tick = async (nowMs: number, wallMs: number): Promise<void> => {
      scrubber.tick(nowMs, wallMs, [{ key, journal, needsReopening: false } as unknown as RecoveryHost]);
      await scrubber.close();
    };
    // A whole pass without a fault, and one a day later that finds damage.
    for (let second = 0; second < 3; second += 1) await tick(second * 1000, status.completedAtMs);
    found.verdict = { isWhole: false, detail: status.detail, lastSeq: 8 };
    await tick(3000, status.completedAtMs + 86_400_000);
    expect(scrubber.statusOf(key)).toEqual(status);
    const isSaved = async (): Promise<boolean> => (await written('scrub.json')) === (await golden('scrub.json'));
    for (let tries = 0; tries < 1000 && !(await isSaved()); tries += 1) await sleep(10);
    expect(await written('scrub.json')).toBe(await golden('scrub.json'));
  });

  it('the document of an activity log is written and read as ever', async () => {
    const disk = join(folder, 'disk');
    await writeFile(disk, Buffer.alloc(4096));
    const vm = { vmId: 'vm-1', disks: [{ diskId: 'scsi:0:0', exportName: 'x', path: disk, sizeBytes: 4096 }] };
    const place = { folder: join(folder, 'activity'), spec: PROTECTION, vm, map: new VolumeMap(PROTECTION, slotsToBe(vm.disks)), log };
    const file = await ActivityLogFile.open(place, { mayTrust: false });
    await file.trust('s');
    const name = (await readdir(place.folder)).find((each) => each.endsWith('.json')) ?? '';
    const document = (await written(join('activity', name))).split('\ncrc32c')[0] ?? '';
    const own = JSON.parse(document) as { logId: string; volumes: readonly string[] };
    const wanted = JSON.parse((await golden('activity.json')).split('\ncrc32c')[0] ?? '') as object;
    expect(document).toBe(JSON.stringify({ ...wanted, logId: own.logId, volumes: own.volumes }, null, 1));
    expect([own.volumes, own.logId]).toEqual([[expect.stringMatching(/^scsi:0:0 4096 \/.*\/disk \d+ \d+$/)], expect.stringMatching(/^[0-9a-f]{16}$/)]);
    await file.close();
    const again = await ActivityLogFile.open(place, { mayTrust: true });
    expect([again.trustedSessionId, (await new StateFile<object>(join(GOLDEN, 'activity.json'), '').load())]).toEqual(['s', wanted]);
    await again.close();
  });
});
