import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type FakeSite, startFakeSite } from './testing/fake-site.js';

const ROOT = join(import.meta.dirname, '../../..');
const MAIN = join(ROOT, 'apps/cli/bin/tidemark.mjs');

let site: FakeSite;
let folder: string;

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(ROOT, 'tools/build.mjs')], { cwd: ROOT });
  folder = await mkdtemp(join(tmpdir(), 'tidemark-cli-'));
});
afterAll(() => rm(folder, { recursive: true }));

beforeEach(async () => {
  site = await startFakeSite();
  await writeFile(join(folder, 'ca.pem'), site.certificatePem);
});
afterEach(() => site.stop());

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command line as a user starts it, without a terminal. */
function tidemark(args: readonly string[], environment: Record<string, string> = login(), input?: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env['PATH'] ?? '', ...environment }, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdin?.end(input);
    child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

const login = (): Record<string, string> => ({ TIDEMARK_URL: site.url, TIDEMARK_USER: site.user, TIDEMARK_PASSWORD: site.password, TIDEMARK_CA: join(folder, 'ca.pem') });
const posted = (path: string): unknown => site.requests.findLast((request) => request.method === 'POST' && request.path === path)?.body;

describe('exit codes', () => {
  it('0: done, and logged out', async () => {
    expect(await tidemark(['login'])).toMatchObject({ code: 0, out: expect.stringContaining('Aachen') });
    expect(site.openSessions()).toBe(0);
  });

  it('1: the task failed, with the reason of the site', async () => {
    site.state.taskFailure = 'VRA Z-VRA-host-b1 does not answer; everything done before was undone';
    const { code, err } = await tidemark(['failover', 'shop']);
    expect([code, err]).toEqual([1, expect.stringContaining(`tidemark: ${site.state.taskFailure}`)]);
    expect(site.openSessions()).toBe(0);
  });

  it('1: what was named does not exist; says what does', async () => {
    expect(await tidemark(['vpgs', 'show', 'Nope'])).toMatchObject({ code: 1, err: "tidemark: no VPG 'Nope'; there are: Shop\n" });
  });

  it.each([
    [['vpgs', 'create'], "required option '--name <text>' not specified"],
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['vpgs', '--output', 'xml'], "--output must be 'table' or 'json'"],
    [['checkpoints', 'list', 'Shop', '--from', 'yesterday'], "'yesterday' is no time"],
    [['failover', 'Shop', '--after', '60'], '--after needs --commit-policy'],
    [['vpgs', '--url', 'http://127.0.0.1'], 'over https only'],
    [['vpgs', '--site', 'a', '--url', 'https://127.0.0.1'], 'give one of them'],
  ])('2: %j', async (args, message) => {
    expect(await tidemark(args)).toMatchObject({ code: 2, err: expect.stringContaining(message) });
    expect(site.requests.filter(({ method }) => method !== 'GET')).toEqual([]);
  });

  it('2: no site is named at all', async () => {
    expect(await tidemark(['vpgs'], {})).toMatchObject({ code: 2, err: expect.stringContaining('which site?') });
  });

  it('3: nobody listens, the password is wrong, the certificate is not trusted', async () => {
    expect(await tidemark(['vpgs'], { ...login(), TIDEMARK_PASSWORD: 'x' })).toMatchObject({ code: 3, err: 'tidemark: wrong user or password\n' });
    const { TIDEMARK_CA: _ca, ...untrusting } = login();
    expect(await tidemark(['vpgs'], untrusting)).toMatchObject({ code: 3, err: expect.stringContaining('--ca FILE') });
    await site.stop();
    expect(await tidemark(['vpgs'])).toMatchObject({ code: 3, err: expect.stringContaining('cannot be reached') });
  });

  it('3: the certificate has ended: says when, and does not advise to trust it', async () => {
    await writeFile(join(folder, 'ca.pem'), await site.changeCertificate({ notBeforeMs: Date.now() - 7_200_000, notAfterMs: Date.now() - 3_600_000 }));
    const { code, err } = await tidemark(['vpgs']);
    expect([code, err]).toEqual([3, expect.stringMatching(/is not believed: its certificate ended at 20\S+; this machine's clock says 20\S+: renew the certificate, or mend the clock that is wrong\n$/)]);
  });

  it('0: help and version; the guide lists every command', async () => {
    const { code, out } = await tidemark(['--help'], {});
    expect([code, out]).toEqual([0, expect.stringContaining('Exit codes:')]);
    const guide = await readFile(join(ROOT, 'docs/guide/commands.md'), 'utf8');
    const names = [...out.slice(out.indexOf('Commands:'), out.indexOf('help [command]')).matchAll(/^ {2}([a-z-]+)/gm)].map(([, name = '']) => name);
    expect(names).toContain('certificate');
    expect(names.filter((name) => !new RegExp(`\\| .*\`${name}[ \`]`).test(guide))).toEqual([]);
    expect(await tidemark(['--version'], {})).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

describe('which site', () => {
  const unset = {};

  it('takes the fingerprint, and never no questions', async () => {
    const { TIDEMARK_CA: _ca, ...untrusting } = login();
    expect((await tidemark(['login', '--fingerprint', site.fingerprint], untrusting)).code).toBe(0);
    expect((await tidemark(['login', '--fingerprint', '0'.repeat(64)], untrusting)).code).toBe(3);
    expect(await tidemark(['login', '--insecure'], untrusting)).toMatchObject({ code: 2, err: expect.stringContaining('unknown option') });
  });

  it("takes a site from the lab's status, with its certificate", async () => {
    const entry = { name: 'a', restUrl: site.url, user: site.user, password: site.password, caFile: join(folder, 'ca.pem'), hosts: [] };
    const file = join(folder, 'status.json');
    await writeFile(file, JSON.stringify({ sites: [entry, { ...entry, name: 'b' }] }));
    expect((await tidemark(['login', '--site', 'A'], { TIDEMARK_LAB_DIR: folder })).code).toBe(0);
    expect((await tidemark(['login', '--lab-file', file, '--site', 'b'], unset)).code).toBe(0);
    expect(await tidemark(['login', '--lab'], { TIDEMARK_LAB_DIR: folder })).toMatchObject({ code: 2, err: expect.stringContaining('one of: a, b') });
    expect(await tidemark(['login', '--site', 'c'], { TIDEMARK_LAB_DIR: folder })).toMatchObject({ code: 2, err: expect.stringContaining("no site 'c'") });
    expect(await tidemark(['login', '--site', 'a'], { TIDEMARK_LAB_DIR: join(folder, 'none') })).toMatchObject({ code: 1, err: expect.stringContaining('is the lab up?') });
  });
});

describe('lists', () => {
  it('as tables', async () => {
    const { out, code } = await tidemark(['vpgs']);
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => line.trim().replace(/\s{2,}/g, ' | '))).toEqual([
      'NAME | STATUS | RPO | HISTORY | VMS | PROTECTED AT | RECOVERY AT | REMARK', 'Shop | MeetingSLA | 6 s | – | 1 | Aachen | Berlin | –', '',
    ]);
  });

  it('as JSON, and nothing else on standard output', async () => {
    for (const command of [['vpgs'], ['sites'], ['vms'], ['vras'], ['alerts'], ['checkpoints', 'Shop'], ['vpgs', 'show', 'Shop']]) {
      const { out, code } = await tidemark([...command, '--output', 'json']);
      expect([command, code, typeof JSON.parse(out)]).toEqual([command, 0, 'object']);
    }
  });

  it('never shows an unknown RPO as a number', async () => {
    site.state.vpgs = site.state.vpgs.map((one) => ({ ...one, ActualRPO: null }));
    expect((await tidemark(['vpgs'])).out).toContain('unknown');
  });

  it('shows a sync: what is left, how fast, until when and why', async () => {
    const sync = { Kind: 'BitmapSync', Reason: 'Network Congestion', TotalBytes: 40 * 2 ** 20, BytesLeft: 12 * 2 ** 20, BytesToCompare: 0, BytesPerSecond: 3 * 2 ** 20, SecondsLeft: 4, EstimatedEnd: '2026-11-22T09:12:03.000Z' };
    site.state.vpgs = site.state.vpgs.map((one) => ({ ...one, SubStatus: 23, Sync: sync }));
    expect((await tidemark(['vpgs', 'show', 'Shop'])).out).toContain('bitmap sync (sends what has changed): 12.0 of 40.0 MiB left, 3.0 MiB/s, ends about 09:12:03 UTC (4 s); Network Congestion');
    site.state.vpgs = site.state.vpgs.map((one) => ({ ...one, Sync: { ...sync, BytesPerSecond: 0, SecondsLeft: null, EstimatedEnd: null } }));
    expect((await tidemark(['vpgs', 'show', 'Shop'])).out).toContain('MiB left, end not known yet');
  });

  it('says what is wrong', async () => {
    expect((await tidemark(['alerts'])).out).toContain("site 'Berlin' does not answer");
    expect((await tidemark(['vras'])).out).toContain('Installed, silent');
  });

  it('watches, one line per look', async () => {
    const { out } = await tidemark(['vpgs', 'watch', 'Shop', '--every', '0.1', '--count', '3', '-o', 'json']);
    const lines = out.trim().split('\n').map((line) => JSON.parse(line) as { Vpgs: { VpgName: string }[] });
    expect(lines.map(({ Vpgs }) => Vpgs[0]?.VpgName)).toEqual(['Shop', 'Shop', 'Shop']);
  });

  it('ends a watch at Ctrl-C with the session closed', async () => {
    const child = spawn(process.execPath, [MAIN, 'vpgs', 'watch', '--every', '0.1'], { env: { PATH: process.env['PATH'] ?? '', ...login() }, stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGINT');
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0);
    expect(site.openSessions()).toBe(0);
  });
});

describe('vpgs create', () => {
  const CREATE = ['vpgs', 'create', '--name', 'Mail', '--vm', 'web', 'vm-2', '--recovery-site', 'Berlin', '--host', 'host-b1', '--datastore', 'ds-b1'];

  it('fills a draft by names, commits it, waits for the sync', async () => {
    const { code, out, err } = await tidemark([...CREATE, '--network', 'lan', '--journal-hours', '2', '--rpo', '60']);
    expect([code, out]).toEqual([0, "✔ VPG 'Mail' protects 2 VMs: MeetingSLA\n"]);
    expect(err).toContain('InitialSync');
    expect(site.committed).toEqual([{
      basic: { Name: 'Mail', Priority: 'Medium', RpoInSeconds: 60, JournalHistoryInHours: 2, ProtectedSiteIdentifier: 'site-a', RecoverySiteIdentifier: 'site-b' },
      recovery: { DefaultFolderIdentifier: null, DefaultHostIdentifier: 'host-1', DefaultDatastoreIdentifier: 'ds-1' },
      networks: { Failover: { Hypervisor: { DefaultNetworkIdentifier: 'net-1' } }, FailoverTest: { Hypervisor: { DefaultNetworkIdentifier: 'net-1' } } },
      vms: [{ VmIdentifier: 'vm-1' }, { VmIdentifier: 'vm-2' }],
    }]);
  });

  it('says of checkpoints, limits and replication what was given', async () => {
    const options = ['--checkpoint-interval', '7', '--keep-all-hours', '3', '--keep-minute-hours', '5', '--journal-limit-mb', '9001', '--scratch-limit-mb', '0', '--no-compression', '--priority', 'high', '--test-interval-days', '30'];
    expect(await tidemark([...CREATE, '--no-wait', ...options])).toMatchObject({ code: 0 });
    expect(site.committed).toMatchObject([{
      basic: {
        CheckpointIntervalInSeconds: 7, KeepAllCheckpointsForHours: 3, KeepMinuteCheckpointsForHours: 5, UseWanCompression: false, Priority: 'high', TestIntervalInMinutes: 43_200, RpoInSeconds: 300,
      },
      journal: { Limitation: { HardLimitInMB: 9001, HardLimitInPercent: 0, WarningThresholdInMB: 6750, WarningThresholdInPercent: 0 } },
      scratch: { Limitation: { HardLimitInMB: 0, HardLimitInPercent: 0, WarningThresholdInMB: 0, WarningThresholdInPercent: 0 } },
    }]);
  });

  it('marks disks with temp data, of VMs by name', async () => {
    expect(await tidemark([...CREATE, '--no-wait', '--temp-disk', 'web=scsi:0:1'])).toMatchObject({ code: 0 });
    expect(site.committed[0]).toMatchObject({ 'vms/vm-1/volumes/scsi:0:1': { VolumeSyncSettings: 'InitialSyncOnly' } });
    expect(await tidemark([...CREATE, '--temp-disk', 'swap'])).toMatchObject({ code: 2, err: expect.stringContaining("'swap' is not VM=DISK") });
  });

  it('begins with existing disks, of VMs and datastores by name', async () => {
    const seeds = ['web=scsi:0:0=seed/web.raw', 'db=scsi:0:0=[ds-b1] seed/db=1.raw'];
    expect(await tidemark([...CREATE, '--vm', 'db', '--no-wait', '--preseed', ...seeds])).toMatchObject({ code: 0 });
    expect(site.committed[0]).toMatchObject({
      'vms/vm-1/volumes/scsi:0:0': { Preseed: { DatastoreIdentifier: 'ds-1', Path: 'seed/web.raw' } },
      'vms/vm-2/volumes/scsi:0:0': { Preseed: { DatastoreIdentifier: 'ds-1', Path: 'seed/db=1.raw' } },
    });
    expect(await tidemark([...CREATE, '--preseed', 'web=scsi:0:0'])).toMatchObject({ code: 2, err: expect.stringContaining('is not VM=DISK=PATH') });
    expect(await tidemark([...CREATE, '--preseed', 'web=scsi:0:0=[nowhere] x.raw'])).toMatchObject({ code: 1, err: expect.stringContaining("no datastore 'nowhere'") });
  });

  it('chooses what there is only one of, asks for the rest', async () => {
    expect(await tidemark(['vpgs', 'create', '--name', 'Mail', '--vm', 'web'])).toMatchObject({ code: 2, err: 'tidemark: give --host, one of: host-b1, host-b2\n' });
    const { code } = await tidemark(['vpgs', 'create', '--name', 'Mail', '--vm', 'web', '--host', 'host-b2', '--no-wait']);
    expect([code, site.committed[0]]).toMatchObject([0, { recovery: { DefaultDatastoreIdentifier: 'ds-2' } }]);
  });

  it('tells the fault of the site and takes the draft back', async () => {
    site.state.commitFault = "Basic.Name: a VPG named 'Mail' exists already";
    expect(await tidemark(CREATE)).toMatchObject({ code: 1, err: `tidemark: ${site.state.commitFault}\n` });
    expect(site.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/vpgsettings/draft-1' });
  });

  it('knows no VM by half a name', async () => {
    expect(await tidemark(CREATE.map((word) => (word === 'web' ? 'we' : word)))).toMatchObject({ code: 1, err: expect.stringContaining("no unprotected VM 'we'; there are: db, web, web2") });
  });
});

describe('vpgs set', () => {
  it('changes what was given in a draft of the VPG, and waits for the task', async () => {
    expect(await tidemark(['vpgs', 'set', 'shop', '--rpo', '90', '--keep-all-hours', '0', '--compression', '--journal-limit-mb', '20000'])).toMatchObject({ code: 0, out: "✔ VPG 'Shop' is changed\n" });
    expect(site.committed).toEqual([{
      VpgIdentifier: 'vpg-1', basic: { RpoInSeconds: 90, KeepAllCheckpointsForHours: 0, KeepMinuteCheckpointsForHours: null, UseWanCompression: true },
      journal: { Limitation: { HardLimitInMB: 20_000, HardLimitInPercent: 0, WarningThresholdInMB: 15_000, WarningThresholdInPercent: 0 } },
    }]);
  });

  it('begins nothing without a change, or with one that cannot be read', async () => {
    expect(await tidemark(['vpgs', 'set', 'Shop'])).toMatchObject({ code: 2, err: expect.stringContaining('nothing to change') });
    expect(await tidemark(['vpgs', 'set', 'Shop', '--rpo', 'soon'])).toMatchObject({ code: 2, err: "tidemark: --rpo: 'soon' is no whole number\n" });
    expect(site.requests.filter(({ path }) => path.startsWith('/vpgsettings'))).toEqual([]);
  });

  it('tells the fault of the site and takes the draft back; a task that fails ends with its reason', async () => {
    site.state.commitFault = 'Basic.CheckpointIntervalInSeconds: 0 given, 1 to 3600 seconds are allowed';
    expect(await tidemark(['vpgs', 'set', 'Shop', '--checkpoint-interval', '0'])).toMatchObject({ code: 1, err: `tidemark: ${site.state.commitFault}\n` });
    expect(site.requests.at(-1)).toMatchObject({ method: 'DELETE', path: '/vpgsettings/draft-1' });
    Object.assign(site.state, { commitFault: null, taskFailure: 'VRA Z-VRA-host-b1 does not answer' });
    expect(await tidemark(['vpgs', 'set', 'Shop', '--priority', 'low'])).toMatchObject({ code: 1, err: expect.stringContaining('VRA Z-VRA-host-b1 does not answer') });
  });
});

describe('recovery', () => {
  it.each([
    ['latest', '11'], ['9', '9'], ['before update', '10'], ['2026-11-22T02:00:10.500Z', '10'], ['2026-11-22T02:00:59Z', '11'],
  ])('fails over to checkpoint %s', async (which, id) => {
    const { code, out } = await tidemark(['failover', 'Shop', '--checkpoint', which, '--shutdown', 'force', '--commit-policy', 'rollback', '--after', '90']);
    expect([code, out]).toEqual([0, expect.stringContaining(`run at checkpoint ${id} `)]);
    expect(posted('/vpgs/vpg-1/failover')).toEqual({
      CheckpointIdentifier: id, CommitPolicy: 'Rollback', TimeToWaitBeforeShutdownInSec: 90, ShutdownPolicy: 'ForceShutdown', IsReverseProtection: false,
    });
  });

  it.each(['7', '2026-11-22T01:59:00Z', 'no such tag'])('has no checkpoint %s, and starts nothing', async (which) => {
    expect(await tidemark(['failover', 'Shop', '-c', which])).toMatchObject({ code: 1, err: expect.stringContaining(`no checkpoint '${which}'; it has 3, from 9`) });
    expect(posted('/vpgs/vpg-1/failover')).toBeUndefined();
  });

  it('shows progress on standard error and the task as JSON', async () => {
    const { out, err } = await tidemark(['failover-test', 'start', 'Shop', '-o', 'json']);
    expect(JSON.parse(out)).toMatchObject({ TaskIdentifier: 'task.1', Status: { State: 6 } });
    expect(err).toContain('30 % failover: powering on the recovered VMs');
  });

  it('stops a test with its result, commits, rolls back, inserts', async () => {
    expect((await tidemark(['failover-test', 'stop', 'Shop', '--failed', '--notes', 'no DNS'])).code).toBe(0);
    expect((await tidemark(['commit', 'Shop'])).code).toBe(0);
    expect((await tidemark(['rollback', 'Shop', '--no-wait'])).out).toContain('task.1');
    expect((await tidemark(['checkpoints', 'insert', 'Shop', 'patch day'])).out).toBe("✔ checkpoint 12 'patch day' is listed\n");
    expect(posted('/vpgs/vpg-1/failoverteststop')).toEqual({ FailoverTestSuccess: false, FailoverTestSummary: 'no DNS' });
    expect(posted('/vpgs/vpg-1/failovercommit')).toEqual({});
    expect(posted('/vpgs/vpg-1/failoverrollback')).toEqual({});
    expect(posted('/vpgs/vpg-1/checkpoints')).toEqual({ CheckpointName: 'patch day' });
    await tidemark(['checkpoints', 'insert', 'Shop', 'nightly', '--application-consistent']);
    expect(posted('/vpgs/vpg-1/checkpoints')).toEqual({ CheckpointName: 'nightly', Vss: true });
  });

  it('says which script has failed and stopped nothing', async () => {
    site.state.taskReason = "the recovered VMs run at checkpoint 11; commit or roll back; the post-recovery script 'dns.sh' failed with exit code 3";
    expect((await tidemark(['failover', 'Shop', '--continue-on-pre-script-failure'])).out).toMatch(/next: tidemark commit or rollback; the post-recovery script 'dns\.sh' failed with exit code 3\n$/);
    expect(posted('/vpgs/vpg-1/failover')).toMatchObject({ ContinueOnPreScriptFailure: true });
  });

  it('moves, and commits and rolls back a move as one', async () => {
    expect((await tidemark(['move', 'Shop', '--force-shutdown', '--reverse'])).code).toBe(0);
    expect(posted('/vpgs/vpg-1/move')).toEqual({ CommitPolicy: 'None', CommitPolicyTimeout: 3600, ForceShutdown: true, ReverseProtection: true });
    const vpg = site.state.vpgs.find(({ VpgName }) => VpgName === 'Shop');
    if (vpg) vpg.Status = 6;
    expect((await tidemark(['commit', 'Shop', '--reverse'])).out).toContain("move of 'Shop' committed");
    expect(posted('/vpgs/vpg-1/movecommit')).toEqual({ ReverseProtection: true });
    expect((await tidemark(['rollback', 'Shop'])).out).toContain("move of 'Shop' rolled back");
    expect(posted('/vpgs/vpg-1/moverollback')).toEqual({});
  });

  it('asks for reverse protection at the start or at the commit, and can take it back', async () => {
    expect((await tidemark(['failover', 'Shop', '--reverse'])).code).toBe(0);
    expect(posted('/vpgs/vpg-1/failover')).toMatchObject({ IsReverseProtection: true });
    for (const [option, body] of [['--reverse', { IsReverseProtection: true }], ['--no-reverse', { IsReverseProtection: false }]] as const) {
      expect((await tidemark(['commit', 'Shop', option])).code).toBe(0);
      expect(site.requests.findLast(({ path }) => path.toLowerCase() === '/vpgs/vpg-1/failovercommit')?.body).toEqual(body);
    }
  });

  it('moves what a VRA recovers to other hosts, after a look at where it goes', async () => {
    expect((await tidemark(['evacuate', 'Z-VRA-host-a1', '--dry-run'])).out).toMatch(/vm-1 +host-b2 +recovers the fewest VMs/);
    expect((await tidemark(['evacuate', 'z-vra-host-a1'])).out).toContain('recovered elsewhere now: 2');
    expect(posted('/vras/7/changerecoveryvra/execute')).toEqual({
      VmsAllocations: [{ VmIdentifier: 'vm-1', HostIdentifier: 'host-2' }, { VmIdentifier: 'vm-2', HostIdentifier: 'host-2' }],
    });
    await tidemark(['evacuate', '7', '--host-is-down']);
    expect(posted('/vras/7/changerecoveryvra/execute')).toMatchObject({ HostIsDown: true });
    expect(posted('/vras/7/changerecoveryvra/execute')).not.toHaveProperty('AlsoDown');
    await tidemark(['evacuate', '7', '--host-is-down', '--also-down', 'z-vra-host-a1']);
    expect(posted('/vras/7/changerecoveryvra/recommendation')).toMatchObject({ AlsoDown: ['7'] });
    expect(posted('/vras/7/changerecoveryvra/execute')).toMatchObject({ HostIsDown: true, AlsoDown: ['7'] });
    expect((await tidemark(['evacuate', '7', '--also-down', 'z-vra-host-a1'])).code).toBe(2);
    const refused = await tidemark(['evacuate', '7', '--to', 'host-a9']);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('does not see datastore ds')]);
  });

  it('adds, lists and removes VBAs, and has one verify a checkpoint', async () => {
    expect((await tidemark(['vba', 'add', 'backup', '--host', 'backup-host', '--address', '127.0.1.9'])).out).toMatch(/identifier +5\ntoken +tidemark1\.enrolment\.vba\ngood until/);
    expect(posted('/vbas')).toEqual({ VbaName: 'backup', HostIdentifier: 'backup-host', IpAddress: '127.0.1.9' });
    expect((await tidemark(['vba'])).out).toMatch(/backup +backup-host +127\.0\.1\.9 +yes +– .* 5\b/);
    expect((await tidemark(['vba-token', 'backup'])).out).toContain('tidemark1.enrolment.abc');
    expect(await tidemark(['checkpoints', 'verify', 'Shop', '--vba', 'backup'])).toMatchObject({ code: 0, out: expect.stringContaining('checkpoint 11 can be read') });
    expect(posted('/vpgs/vpg-1/verifycheckpoint')).toEqual({ CheckpointIdentifier: '11', VbaIdentifier: '5' });
    expect((await tidemark(['checkpoints', 'verified', 'Shop'])).out).toMatch(/11 .*web +scsi:0:0 +4096 +(ab){32}/);
    expect((await tidemark(['vba', 'remove', 'backup', '--yes'])).code).toBe(0);
    expect(site.requests.findLast(({ method }) => method === 'DELETE')).toMatchObject({ path: '/vbas/5' });
  });

  it('shows and sets the limit of what the site replicates', async () => {
    expect((await tidemark(['throttle'])).out).toMatch(/limit +10 MB\/s\nwindow +08:00 to 18:00: 2.5 MB\/s\nin force now +2.5 MB\/s\nsending +2.48 MB\/s, held back by the limit/);
    const put = (): unknown => site.requests.findLast(({ method }) => method === 'PUT')?.body;
    expect((await tidemark(['throttle', 'set', '12.5', '--from', '22:00', '--to', '06:00', '--window-limit', 'unlimited'])).out).toContain('limit: 12.5 MB/s, window: 22:00 to 06:00: unlimited');
    expect(put()).toEqual({ BandwidthThrottlingInMBs: 12.5, Window: { From: '22:00', To: '06:00', BandwidthThrottlingInMBs: -1 } });
    expect((await tidemark(['throttle', 'set', 'unlimited'])).out).toContain('limit: unlimited, window: none');
    expect(put()).toEqual({ BandwidthThrottlingInMBs: -1, Window: null });
    expect((await tidemark(['throttle', 'set', 'fast'])).code).toBe(2);
    expect((await tidemark(['throttle', 'set', '5', '--from', '08:00'])).code).toBe(2);
  });

  it('deletes, pairs and unpairs', async () => {
    expect((await tidemark(['vpgs', 'delete', 'Shop', '--force'])).code).toBe(0);
    expect(site.requests.findLast(({ method }) => method === 'DELETE')).toMatchObject({ path: '/vpgs/vpg-1', body: { KeepRecoveryVolumes: false, Force: true } });
    expect((await tidemark(['pairing-token'])).out).toContain('tidemark1.pairing.abc');
    expect((await tidemark(['pair', '127.0.2.1'], { ...login(), TIDEMARK_PAIRING_TOKEN: 'tidemark1.pairing.abc' })).code).toBe(0);
    expect(posted('/peersites')).toEqual({ HostName: '127.0.2.1', Port: 9081, Token: 'tidemark1.pairing.abc' });
    expect((await tidemark(['let-protect', 'berlin', 'no'])).code).toBe(0);
    expect(site.requests.findLast(({ method }) => method === 'PUT')).toMatchObject({ path: '/peersites/site-b', body: { CanProtectVms: false } });
    expect((await tidemark(['let-protect', 'berlin', 'maybe'])).code).toBe(2);
    expect((await tidemark(['unpair', 'berlin'])).code).toBe(0);
    expect(site.requests.findLast(({ method }) => method === 'DELETE')).toMatchObject({ path: '/peersites/site-b', body: { IsKeepTargetDisks: false } });
  });
});

describe('the token for a pairing', () => {
  it('is read from a file or from standard input, which go before the environment', async () => {
    const environment = { ...login(), TIDEMARK_PAIRING_TOKEN: 'tidemark1.pairing.environment' };
    await writeFile(join(folder, 'pairing-token'), 'tidemark1.pairing.file\n');
    expect((await tidemark(['pair', 'berlin:9000', '--pairing-token-file', join(folder, 'pairing-token')], environment)).code).toBe(0);
    expect(posted('/peersites')).toEqual({ HostName: 'berlin', Port: 9000, Token: 'tidemark1.pairing.file' });
    expect((await tidemark(['pair', 'berlin', '--pairing-token-file', '-'], environment, 'tidemark1.pairing.piped\n')).code).toBe(0);
    expect(posted('/peersites')).toMatchObject({ Token: 'tidemark1.pairing.piped' });
  });

  it('is not taken from the command line; without one nothing is asked of the site', async () => {
    expect(await tidemark(['pair', 'berlin', '--token', 'tidemark1.pairing.abc'])).toMatchObject({ code: 2, err: expect.stringContaining("unknown option '--token'") });
    expect(await tidemark(['pair', 'berlin'])).toMatchObject({ code: 2, err: expect.stringContaining('--pairing-token-file') });
    expect(await tidemark(['pair', 'berlin', '--pairing-token-file', '-'], login(), '')).toMatchObject({ code: 2, err: expect.stringContaining('standard input does not hold the pairing token') });
    expect(posted('/peersites')).toBeUndefined();
  });
});

describe('certificates', () => {
  it('are listed, with whom a rotation waits for; the CA comes as PEM', async () => {
    site.state.rotation = [{ Phase: 'Announced', WaitsFor: ["VRA 'Z-VRA-a1' to believe the next CA"] }];
    const { out, err } = await tidemark(['certificate']);
    expect(out).toMatch(/^ ?COMPONENT +SUBJECT +ISSUER/);
    expect(out).toMatch(/Rest +CN=zvm +CN=Tidemark site a .* of the site's CA +AB:CD/);
    expect(err).toBe("the CA is being rotated (Announced); it waits for VRA 'Z-VRA-a1' to believe the next CA\n");
    expect((await tidemark(['certificate', 'ca'])).out).toBe(`${site.certificatePem.trimEnd()}\n`);
    expect(JSON.parse((await tidemark(['certificate', 'list', '-o', 'json'])).out)).toMatchObject({ Rotation: { Phase: 'Announced' }, Served: { IsImported: false } });
  });

  it('are imported, the key from standard input if need be, and removed', async () => {
    await writeFile(join(folder, 'chain.pem'), 'CHAIN\n');
    expect(await tidemark(['certificate', 'import', join(folder, 'chain.pem'), '-'], login(), 'KEY\nLINE\n')).toMatchObject({ code: 0, out: expect.stringContaining('9669 is served with CN=company until 2027-01-30') });
    expect(site.requests.findLast(({ method }) => method === 'PUT')?.body).toEqual({ CertificatePem: 'CHAIN\n', PrivateKeyPem: 'KEY\nLINE\n' });
    expect((await tidemark(['certificate', 'remove'])).out).toContain("served with CN=zvm of the site's CA");
    expect(await tidemark(['certificate', 'import', join(folder, 'none.pem'), '-'])).toMatchObject({ code: 1, err: expect.stringContaining('cannot read the certificate') });
  });

  it('rotate: shows what it waits for until only the new CA is trusted', async () => {
    site.state.rotation = [
      { Phase: 'Steady', WaitsFor: [] }, { Phase: 'Announced', WaitsFor: ["site 'Berlin' to believe the next CA"] }, { Phase: 'Switched', WaitsFor: [] }, { Phase: 'Steady', WaitsFor: [] },
    ];
    const { code, out, err } = await tidemark(['certificate', 'rotate']);
    expect(err).toBe([
      "33 % the next CA is being made known; waits for site 'Berlin' to believe the next CA", '66 % the next CA signs, certificates are being renewed', '100 % only the new CA is trusted', '',
    ].join('\n'));
    expect([code, out]).toEqual([0, expect.stringContaining('the CA is rotated')]);
    expect(posted('/localsite/certificates/rotate')).toEqual({});
  });

  it('rotate: follows one that is under way instead of beginning another', async () => {
    site.state.rotation = [{ Phase: 'Switched', WaitsFor: [] }, { Phase: 'Steady', WaitsFor: [] }];
    expect(await tidemark(['certificate', 'rotate'])).toMatchObject({ code: 0, err: expect.stringContaining('a rotation is under way already\n100 %') });
    expect(posted('/localsite/certificates/rotate')).toBeUndefined();
  });

  it('rotate --no-wait: begins', async () => {
    expect((await tidemark(['certificate', 'rotate', '--no-wait'])).out).toContain('tidemark certificate list tells how far it is');
    expect(posted('/localsite/certificates/rotate')).toEqual({});
  });
});
