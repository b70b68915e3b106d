import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { vraRights } from '@tidemark/nest';
import { ComponentIdentity, credentials, makeNatsKey, makeRequest, NatsAuthority, SiteCa } from '@tidemark/trust';
import pg from 'pg';
import type { SiteLayout } from './layout.js';
import { databaseUrlOf, findOrMakeLab, type Lab } from './identity.js';
import { labDown, labKill, labStart, parseTarget, processesOf } from './lab.js';
import { childrenOf, isRunning } from './process/proc.js';
import { labStatus } from './status.js';
import { managerOf } from './servers/hypervisor.js';

/** Servers of one site on addresses of their own; ZVM and VRAs belong to the end-to-end tests. */
describe('the servers of a lab site', () => {
  let environment: Record<string, string>;
  let lab: Lab;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-lab-'));
    await rm(folder, { recursive: true });
    environment = { TIDEMARK_LAB_DIR: folder, TIDEMARK_LAB_SUBNETS: '31,32' };
    lab = await findOrMakeLab(environment);
    await processesOf(lab, 'a').startServers();
  });
  afterAll(async () => {
    await labDown(environment);
  });

  const statusOfA = async () => (await labStatus(lab)).sites[0]!;
  const processOfA = async (name: string) => (await statusOfA()).processes.find((process) => process.name === name)!;
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: databaseUrlOf(lab.layout.sites.a, lab.identity.sites.a) });
    await client.connect();
    try {
      return (await client.query(text)).rows as unknown[];
    } finally {
      await client.end();
    }
  };

  it('answer once started, as the real processes, with the sample VMs of site a', async () => {
    const { processes, vms } = await statusOfA();
    expect(processes.map(({ name, isAlive }) => [name, isAlive])).toEqual([['nats', true], ['postgres', true], ['hypervisor', true]]);
    expect(vms.map((vm) => [vm.name, vm.host, vm.powerState, ...vm.disks.map((disk) => disk.sizeBytes / 2 ** 20)])).toEqual([
      ['web01', 'host-a1', 'poweredOn', 64],
      ['db01', 'host-a2', 'poweredOn', 128, 64],
      ['app01', 'host-a1', 'poweredOn', 256],
    ]);
    for (const disk of vms.flatMap((vm) => vm.disks)) {
      expect((await stat(disk.location)).size).toBe(disk.sizeBytes);
      expect(Buffer.byteLength(new URL(disk.nbdUri).searchParams.get('socket')!)).toBeLessThan(100);
    }
  });

  it('what a database committed survives lab kill, whose process and children are gone, and lab start', async () => {
    await query('CREATE TABLE IF NOT EXISTS kept (value int)');
    await query('INSERT INTO kept VALUES (42)');
    const before = await processOfA('postgres');
    const children = childrenOf(before.pid);
    expect(children.length).toBeGreaterThan(0);
    expect(await labKill(environment, parseTarget('a/postgres'))).toEqual(['postgres']);
    expect((await processOfA('postgres')).isAlive).toBe(false);
    expect(children.filter(isRunning)).toEqual([]);
    expect(await labKill(environment, parseTarget('a/postgres'))).toEqual([]);
    expect(await labStart(environment, parseTarget('a'))).toEqual(['postgres']);
    expect((await processOfA('postgres')).pid).not.toBe(before.pid);
    expect(await query('SELECT value FROM kept')).toEqual([{ value: 42 }]);
  });

  it('with the manager dead or silent the status still tells what it last knew, in time', async () => {
    const before = await statusOfA();
    const { pid } = await processOfA('hypervisor');
    process.kill(pid, 'SIGSTOP');
    expect((await statusOfA()).vms).toEqual(before.vms);
    process.kill(pid, 'SIGCONT');
    await labKill(environment, parseTarget('a/hypervisor'));
    const startedAtMs = performance.now();
    expect((await statusOfA()).vms).toEqual(before.vms);
    expect(performance.now() - startedAtMs).toBeLessThan(5000);
    await labStart(environment, parseTarget('a/hypervisor'));
    expect((await statusOfA()).vms).toEqual(before.vms);
  });

  it('an appliance is a process of the site, and outlives the manager that started it', async () => {
    const manager = managerOf(lab.layout.sites.a);
    const { hosts, datastores, networks } = await manager.inventory();
    const spec = {
      vraId: '7', hostId: hosts[0]!.id, datastoreId: datastores[0]!.id, networkId: networks[0]!.id, name: 'Z-VRA-host-a1',
      siteId: lab.identity.sites.a.siteId, natsUrl: 'tls://127.0.31.1:4222', memoryMiB: 512, enrolmentToken: 'used already',
    };
    await storeVraIdentity(lab.layout.sites.a, '7', lab.identity.sites.a.siteId);
    await manager.deployAppliance(spec);
    const vra = await processOfA('vra1');
    expect(vra.isAlive).toBe(true);
    await labKill(environment, parseTarget('a/hypervisor'));
    expect(await processOfA('vra1')).toEqual(vra);
    await labStart(environment, parseTarget('a/hypervisor'));
    await manager.deployAppliance(spec);
    expect(await processOfA('vra1')).toEqual(vra);
    await labKill(environment, parseTarget('a/vra1'));
    expect(await labStart(environment, parseTarget('a'))).toEqual(['vra1']);
    await manager.removeAppliance('7');
    expect((await statusOfA()).processes.map((process) => process.name)).not.toContain('vra1');
  });

  it('starting what runs changes nothing', async () => {
    const before = (await statusOfA()).processes;
    await processesOf(lab, 'a').startServers();
    expect((await statusOfA()).processes).toEqual(before);
  });

  it('a port that another program has is named, with what to do', async () => {
    const taken = await listenOn('127.0.32.1', 4222);
    try {
      await expect(processesOf(lab, 'b').startServers()).rejects.toMatchObject({
        code: 'LAB_PORT_IN_USE',
        message: expect.stringMatching(/nats needs 127\.0\.32\.1:4222.*TIDEMARK_LAB_SUBNETS/),
      });
    } finally {
      taken.close();
    }
  });

  it('servers that are not ours are used and not started; one that does not answer is named', async () => {
    const folder = `${environment['TIDEMARK_LAB_DIR']!}-external`;
    const databaseUrl = databaseUrlOf(lab.layout.sites.a, lab.identity.sites.a);
    const external = await findOrMakeLab({
      TIDEMARK_LAB_DIR: folder,
      TIDEMARK_LAB_SUBNETS: '31,33',
      TIDEMARK_A_NATS_URL: 'nats://127.0.31.1:4222',
      TIDEMARK_A_DATABASE_URL: databaseUrl,
      TIDEMARK_B_NATS_URL: 'nats://127.0.33.1:4222',
    });
    try {
      await labKill(environment, parseTarget('a/hypervisor')); // the other lab needs its address
      await processesOf(external, 'a').startServers();
      expect((await processesOf(external, 'a').list()).map((record) => record.name)).toEqual(['hypervisor']);
      await expect(processesOf(external, 'b').startServers()).rejects.toThrow(/TIDEMARK_B_NATS_URL=nats:\/\/127\.0\.33\.1:4222 does not answer/);
    } finally {
      await labDown({ TIDEMARK_LAB_DIR: folder });
      await labStart(environment, parseTarget('a/hypervisor'));
    }
  });

  it.each([
    ['c', /a site \(a, b\)/],
    ['a/', /SITE\/PROCESS/],
    ['a/nats/x', /SITE\/PROCESS/],
  ])("the target '%s' is refused with what is possible", (target, message) => {
    expect(() => parseTarget(target)).toThrow(message);
  });

  it('an unknown process is refused with those that exist', async () => {
    await expect(labKill(environment, parseTarget('a/vra9'))).rejects.toThrow('site a has no process vra9; there are: nats, postgres, hypervisor');
  });

  it('down ends every process, removes the folder, and is harmless when there is nothing', async () => {
    const { processes } = await statusOfA();
    const postgres = processes.find((process) => process.name === 'postgres')!;
    const children = childrenOf(postgres.pid);
    expect(await labDown(environment)).toBe(true);
    expect(existsSync(lab.layout.folder)).toBe(false);
    expect(children.filter(isRunning)).toEqual([]);
    expect(await labDown(environment)).toBe(false);
  });
});

function listenOn(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port }, () => resolve(server));
  });
}

/** As if it had been enrolled: without a ZVM nobody redeems a token, and a VRA that knows who it is needs none. */
async function storeVraIdentity(site: SiteLayout, vraId: string, siteId: string): Promise<void> {
  const [name, trust] = [{ siteId, siteName: 'site-a' }, join(site.zvmFolder, 'trust')];
  const ca = await SiteCa.openOrMake(join(trust, 'ca'), name, Date.now);
  const authority = await NatsAuthority.openOrMake(join(trust, 'nats-authority'), name);
  const [request, user] = [await makeRequest(), makeNatsKey()];
  const { certificatePem, notAfterMs } = await ca.issue(request.pem, { siteId, role: 'vra', instanceId: vraId }, []);
  const jwt = await authority.user(user.publicKey, { ...vraRights(siteId, vraId), notAfterMs });
  const folder = join(site.hosts[0]?.folder ?? '', 'vra', 'trust');
  await mkdir(dirname(folder), { recursive: true, mode: 0o700 });
  await ComponentIdentity.store(folder, { keyPem: request.keyPem, certificatePem, caPem: ca.trustedPem, natsCredentials: credentials(jwt, user.seed) });
}
