import { existsSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { LabStatus } from '../status.js';
import { runCommand, runLab, SitePair } from './site-pair.js';

/** The command as people and scripts run it; each case goes on where the one before ended. */
describe('npm run lab', () => {
  let environment: Record<string, string>;

  beforeAll(async () => {
    environment = await SitePair.makeEnvironment();
  });
  afterAll(async () => {
    await SitePair.remove(environment);
  }, 60_000);

  /** Its output is in the failure when it should have worked. */
  const succeeds = async (...args: string[]): Promise<void> => {
    const { exitCode, stderr } = await runLab(args, environment);
    expect(exitCode === 0 ? 'done' : stderr).toBe('done');
  };
  const status = async (): Promise<LabStatus> => {
    const startedAtMs = performance.now();
    const { exitCode, stdout } = await runLab(['status', '--json'], environment);
    expect(exitCode).toBe(0);
    expect(performance.now() - startedAtMs).toBeLessThan(5000);
    return JSON.parse(stdout) as LabStatus;
  };

  it('down and status are harmless when nothing runs; kill says what to do', async () => {
    await succeeds('down');
    expect((await status()).sites).toEqual([]);
    expect(await runLab(['kill', 'a'], environment)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/no lab here.*up/) });
  });

  it('up --detach ends with 0 when everything answers and keeps no standard stream open', async () => {
    await succeeds('up', '--detach');
    const { sites } = await status();
    expect(sites.map((site) => site.name)).toEqual(['a', 'b']);
    for (const site of sites) {
      expect(site.processes.map((process) => process.name).sort()).toEqual(['hypervisor', 'nats', 'postgres', 'vra1', 'vra2', 'zvm']);
      for (const { name, pid, isAlive } of site.processes) {
        expect(isAlive).toBe(true);
        expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toMatch(name === 'nats' ? /nats-server/ : name === 'postgres' ? /postgres/ : /node.*main\.js/);
      }
      expect(site.hosts).toHaveLength(2);
      expect(site.password).toMatch(/^.{12,}$/);
      expect(statSync(`${environment['TIDEMARK_LAB_DIR'] ?? ''}/status.json`).mode & 0o777).toBe(0o600);
    }
  }, 180_000);

  it('site a has three powered-on VMs with disks that any NBD client reads, whole and empty', async () => {
    const { sites } = await status();
    expect(sites[0]?.vms.map((vm) => [vm.name, vm.powerState, vm.disks.length])).toEqual([
      ['web01', 'poweredOn', 1],
      ['db01', 'poweredOn', 2],
      ['app01', 'poweredOn', 1],
    ]);
    for (const disk of sites[0]!.vms.flatMap((vm) => vm.disks)) {
      expect(disk.sizeBytes).toBeGreaterThanOrEqual(64 * 2 ** 20);
      const { stdout } = await runCommand('nbdinfo', ['--size', disk.nbdUri]);
      expect(Number(stdout)).toBe(disk.sizeBytes);
    }
    expect(sites[1]?.vms).toEqual([]);
  });

  it('the REST API answers to the password and the certificate that the status names', async () => {
    const site = (await status()).sites[0]!;
    const arguments_ = ['-sS', '--cacert', site.caFile, '-u', `${site.user}:${site.password ?? ''}`, '-o', '/dev/null', '-D', '-', '-X', 'POST'];
    const { exitCode, stdout } = await runCommand('curl', [...arguments_, '-H', 'Content-Type: application/json', '-d', '{}', `${site.restUrl}/v1/session/add`]);
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^HTTP\/1\.1 200[^]*x-zerto-session: [0-9a-f-]{36}/i) });
  });

  it('up again changes nothing', async () => {
    const before = (await status()).sites.map((site) => site.processes);
    await succeeds('up', '--detach');
    expect((await status()).sites.map((site) => site.processes)).toEqual(before);
  }, 60_000);

  it('a killed site stays dead and known; start brings it back as it was', async () => {
    const before = (await status()).sites[0]!;
    await succeeds('kill', 'a');
    const dead = (await status()).sites[0]!;
    expect(dead.processes.some((process) => process.isAlive)).toBe(false);
    expect({ ...dead, processes: [] }).toEqual({ ...before, processes: [] });
    await succeeds('start', 'a');
    const alive = (await status()).sites[0]!;
    expect(alive.processes.every((process) => process.isAlive)).toBe(true);
    expect(alive.vms).toEqual(before.vms);
    const disk = alive.vms[0]!.disks[0]!;
    expect(await runCommand('nbdinfo', ['--size', disk.nbdUri])).toMatchObject({ exitCode: 0 });
  }, 120_000);

  it('a wrong target is refused with what is possible', async () => {
    expect(await runLab(['kill', 'x'], environment)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/a, b/) });
    expect(await runLab(['start', 'a/vra7'], environment)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/there are: nats, postgres, hypervisor, zvm, vra1, vra2/) });
  });

  it('down ends all processes and removes everything', async () => {
    const pids = (await status()).sites.flatMap((site) => site.processes.map((process) => process.pid));
    await succeeds('down');
    expect(pids.filter((pid) => existsSync(`/proc/${pid}/exe`))).toEqual([]);
    expect(existsSync(environment['TIDEMARK_LAB_DIR']!)).toBe(false);
  }, 60_000);
});
