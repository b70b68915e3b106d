import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { messageOf } from './errors.js';
import { PeerLinkService } from './peer/peer-link.service.js';
import { PairedSites } from './testing/paired-sites.js';
import { eventually } from './testing/test-site.js';
import type { VpgRecord } from './vpg/vpg-model.js';
import { VmHostStore } from './vpg/vm-host.store.js';
import { VpgStore } from './vpg/vpg.store.js';

let sites: PairedSites;
let vpgId: string;
let scripts: string;

beforeAll(async () => {
  // Not below the site's folder: the scripts' user must get there.
  scripts = await mkdtemp(join(tmpdir(), 'zvm-scripts-'));
  await chmod(scripts, 0o755);
  await mkdir(join(scripts, 'seen'));
  sites = await PairedSites.open(['web', 'db'], { TIDEMARK_SCRIPTS_DIR: scripts });
  vpgId = await sites.protect('App', ['web']);
}, 120_000);
afterAll(async () => {
  await sites?.close();
  await rm(scripts, { recursive: true, force: true });
});

const listed = async (): Promise<number[]> => [(await sites.atA.ok<object[]>('GET', '/vpgs')).length, (await sites.atB.ok<object[]>('GET', '/vpgs')).length];

// Another user's ZVM runs none.
(process.geteuid?.() === 0 ? describe : describe.skip)('scripts before and after a recovery', () => {
  const FAILED = 4;
  const SCRIPT_FAILURE = 28;
  const script = async (name: string, text: string): Promise<void> => {
    await writeFile(join(scripts, name), `#!/bin/sh\n${text}\n`);
    await chmod(join(scripts, name), 0o755);
  };
  const draftWith = async (scripting: object): Promise<string> => {
    const draft = `/vpgSettings/${await sites.atA.ok<string>('POST', '/vpgSettings', { VpgIdentifier: vpgId })}`;
    await sites.atA.ok('PUT', `${draft}/scripting`, scripting);
    return draft;
  };
  const described = async (): Promise<string[]> => {
    const events = await sites.atB.ok<{ EventType: number; Description: string; UserName: string }[]>('GET', '/events');
    return events.filter(({ EventType }) => EventType === SCRIPT_FAILURE).map(({ Description, UserName }) => `${UserName}: ${Description}`);
  };
  const vmsAtB = async (): Promise<string[]> => (await sites.b.hypervisor.inventory()).vms.map(({ powerState }) => powerState);

  it('are refused at the commit of the settings when the recovery site cannot run them', async () => {
    await script('loose.sh', '');
    await chmod(join(scripts, 'loose.sh'), 0o777);
    const draft = await draftWith({ PreRecovery: { Command: 'gone.sh' }, PostRecovery: { Command: 'loose.sh' } });
    const message = await sites.atA.refused(400, 'POST', `${draft}/commit`);
    expect(message).toMatch(/Scripting\.PreRecovery\.Command: there is no file .*gone\.sh.*put it there; Scripting\.PostRecovery\.Command: others than its owner can write .*chmod go-w/);
    await sites.atA.ok('PUT', `${draft}/scripting`, { PreRecovery: { Command: 'loose.sh', Parameters: '"', TimeoutInSeconds: 4000 } });
    expect(await sites.atA.refused(400, 'POST', `${draft}/commit`)).toMatch(/Parameters: a quote is not closed; .*TimeoutInSeconds: 4000 given/);
  });

  it('a pre-recovery script that fails stops the operation before anything was made, and is accounted for', async () => {
    await script('pre.sh', 'echo "$ZertoVPGName $ZertoOperation $ZertoForce $# $1"; cat "$2/trust/ca/current/ca-key.pem"; exit 3');
    await script('post.sh', 'echo "of $VmDisplayNames" ; exit 5');
    expect(await readFile(join(sites.b.config.stateDir, 'trust/ca/current/ca-key.pem'), 'utf8')).toContain('PRIVATE KEY');
    const parameters = `'$(touch x) b' ${sites.b.config.stateDir}`;
    await sites.done(sites.atA, 'POST', `${await draftWith({ PreRecovery: { Command: 'pre.sh', Parameters: parameters }, PostRecovery: { Command: 'post.sh' } })}/commit`);
    await sites.untilProtected(vpgId);
    const { state, reason } = await sites.atB.task(await sites.atB.ok<string>('POST', `/vpgs/${vpgId}/FailoverTest`, {}));
    expect([state, reason]).toEqual([FAILED, expect.stringMatching(/^pre-recovery script: 'pre\.sh' failed with exit code 3 after .* s: .*undone/)]);
    expect([await vmsAtB(), (await sites.vpg(sites.atB, vpgId)).Status]).toEqual([[], 1]);
    expect(await described()).toEqual([expect.stringMatching(/^admin: pre-recovery script 'pre\.sh' failed .*output: App Test No 2 \$\(touch x\) b/)]);
    // A ZVM that is not root has no other user to run it as.
    expect(await described()).toEqual([expect.stringMatching(/b; errors: cat: \S*ca-key\.pem: Permission denied$/)]);
    const [entry] = await sites.atB.ok<{ Action: string; UserName: string; Entities: string[]; Input: object; Result: number }[]>('GET', '/audit?action=script.ended');
    const sha256 = createHash('sha256').update(await readFile(join(scripts, 'pre.sh'))).digest('hex');
    expect(entry).toMatchObject({ UserName: 'admin', Action: 'script.ended PreScript', Entities: [`vpg:${vpgId}`], Input: { file: join(await realpath(scripts), 'pre.sh'), sha256, exitCode: 3, durationMs: expect.any(Number) } });
  });

  it('one that may fail, and one after the recovery, are reported and stop nothing', async () => {
    const text = await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, { ContinueOnPreScriptFailure: true });
    expect(text).toMatch(/the recovered VMs run .*; the pre-recovery script 'pre\.sh' failed .*; the post-recovery script 'post\.sh' failed with exit code 5 after .* s: of web$/);
    expect([await vmsAtB(), (await sites.vpg(sites.atB, vpgId)).SubStatus]).toEqual([['poweredOn'], 15]);
    expect(await described()).toContainEqual(expect.stringContaining('output: App FailoverBeforeCommit Yes 2 $(touch x) b'));
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverRollback`);
    await sites.untilProtected(vpgId);
  });

  it('one that was under way when the ZVM ended is not run again by itself, and the operation is undone', async () => {
    await chmod(join(scripts, 'seen'), 0o777);
    await script('pre.sh', `mktemp ${join(scripts, 'seen')}/XXXXXX; exec sleep 1000`);
    const taskId = await sites.atB.ok<string>('POST', `/vpgs/${vpgId}/FailoverTest`, {});
    await eventually('it runs', async () => (await readdir(join(scripts, 'seen'))).length === 1);
    await sites.restartZvm('b');
    const { state, reason } = await sites.atB.task(taskId);
    expect([state, reason]).toEqual([FAILED, expect.stringMatching(/'pre\.sh' was under way when the site manager ended.*not known.*begin the operation anew/)]);
    expect([await readdir(join(scripts, 'seen')), await vmsAtB()]).toEqual([[expect.any(String)], []]);
    await sites.untilProtected(vpgId);
    await sites.done(sites.atA, 'POST', `${await draftWith({ PreRecovery: null, PostRecovery: null })}/commit`);
    await sites.untilProtected(vpgId);
  });
});

describe('what settings ask of the data plane', () => {
  const MIB = 1024 ** 2;
  const HOUR_MS = 3_600_000;
  const plain = (value: object): unknown => JSON.parse(JSON.stringify(value));

  it('reaches the VRAs when the VPG is made, and when it is edited', async () => {
    const db = (await sites.a.hypervisor.inventory()).vms.find(({ name }) => name === 'db');
    const diskBytes = db?.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) ?? 0;
    const id = await sites.protect('Odd', ['db'], {
      Basic: { Priority: 'High', UseWanCompression: false, CheckpointIntervalInSeconds: 7, JournalHistoryInHours: 11, KeepAllCheckpointsForHours: 3, KeepMinuteCheckpointsForHours: 5 },
      Journal: { Limitation: { HardLimitInMB: 9001, WarningThresholdInMB: 8003 } },
      Scratch: { Limitation: { HardLimitInMB: 77, WarningThresholdInMB: 55 } },
    });
    const told = (): unknown => {
      const vras = [...sites.plane.vras.values()];
      const spec = vras.flatMap(({ recoveries }) => [...recoveries.values()]).find((recovery) => recovery.spec.vpgId === id)?.spec;
      const sender = vras.flatMap(({ state }) => state.protections).find(({ vpgId: of }) => of === id);
      return plain({
        historyMs: spec?.historyMs, thinning: spec?.thinning, limits: spec?.limits, priority: sender?.priority, isCompressed: sender?.isCompressed,
        intervalMs: vras.flatMap(({ state }) => state.barriers).find(({ vpgId: of }) => of === id)?.intervalMs,
      });
    };
    const untilTold = async (wanted: object): Promise<void> => {
      await eventually('the VRAs are told', () => Promise.resolve(isDeepStrictEqual(told(), wanted))).catch(() => undefined);
      expect(told()).toEqual(wanted);
    };
    await untilTold({
      historyMs: 11 * HOUR_MS, thinning: { keepAllMs: 3 * HOUR_MS, hourlyAfterMs: 5 * HOUR_MS }, priority: 'high', isCompressed: false, intervalMs: 7000,
      limits: { journalHardBytes: 9001 * MIB, journalWarningBytes: 8003 * MIB, scratchHardBytes: 77 * MIB, scratchWarningBytes: 55 * MIB },
    });
    const draft = `/vpgSettings/${await sites.atB.ok<string>('POST', '/vpgSettings', { VpgIdentifier: id })}`;
    await sites.atB.ok('PUT', draft, {
      Basic: { Priority: 'Low', UseWanCompression: true, CheckpointIntervalInSeconds: 13, JournalHistoryInHours: 12, KeepAllCheckpointsForHours: 0, KeepMinuteCheckpointsForHours: null },
      Scratch: { Limitation: { HardLimitInMB: 0, WarningThresholdInMB: 0 } },
    });
    await sites.atB.ok('PUT', `${draft}/scratch`, { DatastoreIdentifier: 'elsewhere' });
    expect(await sites.atB.refused(400, 'POST', `${draft}/commit`)).toContain('Scratch.DatastoreIdentifier: scratch lies beside the journal');
    await sites.atB.ok('PUT', `${draft}/scratch`, { DatastoreIdentifier: null });
    const ownLimit = { HardLimitInMB: 0, HardLimitInPercent: 250, WarningThresholdInPercent: 125 };
    await sites.atB.ok('PUT', `${draft}/vms/${db?.id ?? ''}`, { Journal: { Limitation: ownLimit } });
    await sites.done(sites.atB, 'POST', `${draft}/commit`);
    await untilTold({
      historyMs: 12 * HOUR_MS, priority: 'low', isCompressed: true, intervalMs: 13_000,
      limits: { journalHardBytes: 2.5 * diskBytes, journalWarningBytes: 1.25 * diskBytes, scratchHardBytes: null, scratchWarningBytes: null },
    });
    await sites.done(sites.atB, 'DELETE', `/vpgs/${id}`, {});
  });

  it('is taken from the VPG when a draft edits it: what is given beside it would be lost', async () => {
    const message = await sites.atA.refused(400, 'POST', '/vpgSettings', { VpgIdentifier: vpgId, Vms: null, Basic: { RpoInSeconds: 90 } });
    expect(message).toMatch(/^Basic: .*create it with VpgIdentifier alone/);
  });
});

describe('what happens while a manager is down', () => {
  it('a tagged checkpoint is refused within two seconds, with what to do instead', async () => {
    const web = (await sites.a.hypervisor.inventory()).vms.find(({ name }) => name === 'web');
    await eventually('site a has written down where the VM runs', () => Promise.resolve(sites.a.zvm?.app.get(VmHostStore).find(vpgId, web?.id ?? '')));
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    const startedMs = performance.now();
    expect(await sites.atB.refused(409, 'POST', `/vpgs/${vpgId}/checkpoints`, { CheckpointName: 'now' })).toContain('use an automatic one');
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  it('a VM that has moved to another host meanwhile is noticed at the start, and its new host protects it', async () => {
    const { vms, hosts } = await sites.a.hypervisor.inventory();
    const web = vms.find(({ name }) => name === 'web');
    const target = hosts.find(({ id }) => id !== web?.hostId);
    await sites.a.hypervisor.migrateVm(web?.id ?? '', { hostId: target?.id ?? '' });
    await sites.startZvm('a');
    const moved = async (): Promise<string[]> => (await sites.atA.ok<{ Description: string }[]>('GET', '/events')).map(({ Description }) => Description).filter((text) => text.startsWith("VM 'web' moved"));
    expect(await eventually('the move is noticed', async () => (await moved())[0])).toContain(`to host ${target?.name ?? ''}`);
    await eventually('the VRA of the new host protects it', () => {
      const vra = [...sites.plane.vras.values()].find(({ options }) => options.hostId === target?.id);
      return Promise.resolve(vra?.state.protections.some((protection) => protection.vmId === web?.id));
    });
    await sites.restartZvm('a');
    await sites.untilProtected(vpgId);
    expect(await moved()).toHaveLength(1);
  });

  it('a test that is overdue is warned of until it is made', async () => {
    const draft = `/vpgSettings/${await sites.atA.ok<string>('POST', '/vpgSettings', { VpgIdentifier: vpgId })}`;
    await sites.atA.ok('PUT', `${draft}/basic`, { TestIntervalInMinutes: 120 });
    await sites.done(sites.atA, 'POST', `${draft}/commit`);
    await sites.b.zvm?.app.get(VpgStore).update(vpgId, (record) => ({ ...record, createdAtMs: record.createdAtMs - 7_300_000 }));
    const reminders = async (): Promise<string[]> => {
      const alerts = await sites.atB.ok<{ HelpIdentifier: string; Description: string }[]>('GET', '/alerts');
      return alerts.filter(({ HelpIdentifier }) => HelpIdentifier === 'VPG0050').map(({ Description }) => Description);
    };
    expect(await eventually('it is warned of', async () => (await reminders())[0])).toContain("VPG 'App' was made and never tested more than 2 hours ago");
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTest`);
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTestStop`);
    await eventually('it was tested', async () => (await reminders()).length === 0);
  });

  it('an edit during a failover test is refused with what to do first', async () => {
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTest`);
    const draft = await sites.atB.ok<string>('POST', '/vpgSettings', { VpgIdentifier: vpgId });
    expect(await sites.atB.refused(409, 'POST', `/vpgSettings/${draft}/commit`)).toContain('stop the test first');
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTestStop`);
    await sites.done(sites.atB, 'POST', `/vpgSettings/${draft}/commit`);
  });

  it('a preseeded disk that the recovering VRA cannot use is refused at the commit, and nothing is made', async () => {
    const { vms } = await sites.a.hypervisor.inventory();
    const [atRecovery, db] = [await sites.b.hypervisor.inventory(), vms.find(({ name }) => name === 'db')];
    const draft = `/vpgSettings/${await sites.atA.ok<string>('POST', '/vpgSettings', {})}`;
    await sites.atA.ok('PUT', `${draft}/basic`, { ...(await sites.atA.ok<object>('GET', `${draft}/basic`)), Name: 'Seeded', ProtectedSiteIdentifier: sites.a.config.siteId, RecoverySiteIdentifier: sites.b.config.siteId });
    await sites.atA.ok('PUT', `${draft}/recovery`, { DefaultHostIdentifier: atRecovery.hosts[0]?.id, DefaultDatastoreIdentifier: atRecovery.datastores[0]?.id });
    await sites.atA.ok('POST', `${draft}/vms`, { VmIdentifier: db?.id });
    const volume = `${draft}/vms/${db?.id ?? ''}/volumes/scsi:0:0`;
    const preseed = async (Path: string): Promise<unknown> => await sites.atA.ok('PUT', volume, { ...(await sites.atA.ok<object>('GET', volume)), Preseed: { DatastoreIdentifier: atRecovery.datastores[0]?.id, Path } });
    await preseed('broken.raw');
    expect(await sites.atA.refused(400, 'POST', `${draft}/commit`)).toMatch(/broken\.raw is not below seed\/.* of datastore/);
    await preseed(`seed/${sites.a.config.siteId}/broken.raw`);
    expect(await sites.atA.refused(400, 'POST', `${draft}/commit`)).toMatch(/Preseed of disk scsi:0:0 of 'db': there is no file .*broken\.raw of \d+ bytes that nobody uses/);
    expect(await listed()).toEqual([1, 1]);
  });

  it('a VPG that was deleted by force is not brought back by the site that was away, nor by what it says later', async () => {
    const record = sites.b.zvm?.app.get(VpgStore).find(vpgId) as VpgRecord;
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    await sites.done(sites.atB, 'DELETE', `/vpgs/${vpgId}`, { Force: true });
    await sites.startZvm('a');
    await eventually('site a has let go of it', async () => (await sites.atA.ok<object[]>('GET', '/vpgs')).length === 0);
    await sites.restartZvm('a');
    const refusal = async (): Promise<string> =>
      await (sites.b.zvm?.app.get(PeerLinkService).ask(sites.a.config.siteId, 'vpg.put', { record: { ...record, generation: record.generation + 50 } }) ?? Promise.resolve()).then(() => 'taken', messageOf);
    // It answers before it has read its database.
    const said = await eventually('site a has read its database', async () => ((text) => !text.includes('still reading') && text)(await refusal()));
    expect(said).toContain('was deleted at this site');
    await sites.restartZvm('b');
    await eventually('both hear each other', async () => (await sites.atB.call('GET', `/virtualizationsites/${sites.a.config.siteId}/vms`)).status === 200);
    expect(await listed()).toEqual([0, 0]);
  });
});
