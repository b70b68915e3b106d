import { mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { SiteName } from '../layout.js';
import { uriOf } from '../guest/workload.js';
import { replicationFigures } from '../rest/vra-figures.js';
import { type Checkpoint, VPG_STATUS } from '../rest/vpg-client.js';
import { until } from '../until.js';
import { appEntry } from '../servers/node-programs.js';
import { Cleanups, type CommandResult, copyOut, runCommand, SitePair } from './site-pair.js';

/** What the guest wrote, kept apart from everything that Tidemark does. */
class WrittenDisk {
  image: Buffer;

  constructor(sizeBytes: number) {
    this.image = Buffer.alloc(sizeBytes);
  }

  async write(uri: string, byte: number, { atMiB, lengthMiB }: { readonly atMiB: number; readonly lengthMiB: number }): Promise<void> {
    const result = await runCommand('qemu-io', ['-f', 'raw', '-c', `write -P ${byte} ${atMiB}M ${lengthMiB}M`, '-c', 'flush', uri]);
    expect(result).toMatchObject({ exitCode: 0 });
    expect(result.stdout).not.toMatch(/failed|error/i);
    this.image.fill(byte, atMiB * MiB, (atMiB + lengthMiB) * MiB);
  }
}

describe('protection turns round', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let folder: string;
  let vpgId: string;
  let disk: WrittenDisk;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-e2e-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
  }, 180_000);
  afterAll(() => cleanups.run(), 60_000);

  const running = async (site: SiteName): Promise<string> =>
    await until(`app01 runs at ${site}`, async () => {
      const vms = (await pair.vms(site)).filter(({ powerState }) => powerState === 'poweredOn');
      return vms.some(({ name }) => name === 'app01') ? uriOf(vms, { vm: 'app01', index: 0 }) : undefined;
    });
  const copy = async (uri: string): Promise<Buffer> => await copyOut(uri, folder);
  const untilProtectedFrom = async (site: SiteName): Promise<void> => {
    let seen = '';
    await until(`VMs of ${site} are protected`, async () => {
      const views = await Promise.all((['a', 'b'] as const).map(async (at) => await (await pair.vpg(at, vpgId)).view().catch(() => undefined)));
      seen = views.map((view) => (view ? `${view.ProtectedSiteName} ${view.Status}: ${view.SubStatusDescription}` : 'no VPG')).join('; ');
      const isProtected = views.every((view) => view?.ProtectedSiteName.endsWith(site) === true && view.Status === VPG_STATUS.meetingSla);
      return isProtected ? true : undefined;
    }, { timeoutMs: 60_000, everyMs: 500, seen: () => seen });
  };
  /** What the site's VRAs wrote down when each direction's first stream of the VPG was opened. */
  const syncKindsOf = async (site: SiteName): Promise<string[]> => {
    const { hosts, logFolder } = pair.lab.layout.sites[site];
    const texts = await Promise.all(hosts.map(({ vraName }) => readFile(join(logFolder, `${vraName}.log`), 'utf8')));
    const opened = texts.flatMap((text) => text.split('\n')).filter((line) => line.includes('stream opened') && line.includes(vpgId) && line.includes('"lastSessionId":null'));
    return opened.map((line) => /"state":"(\w+)"/.exec(line)?.[1] ?? '');
  };
  const tagged = async (site: SiteName, tag: string): Promise<{ checkpoint: Checkpoint; image: Buffer }> => {
    const checkpoint = await (await pair.vpg(site, vpgId)).insertTagged(tag);
    return { checkpoint, image: Buffer.from(disk.image) };
  };

  it('preseeded: a disk that was brought beforehand is compared, only what differs travels; what cannot be used is refused before anything starts', async () => {
    const web = await pair.vm('a', 'web01');
    const source = web.disks[0]!;
    const written = new WrittenDisk(source.sizeBytes);
    await written.write(source.nbdUri, 0x51, { atMiB: 0, lengthMiB: 12 });
    const seeds = join(pair.lab.layout.sites.b.datastoreFolder, 'ds1', 'seed', pair.siteId('a'));
    await mkdir(seeds, { recursive: true });
    await writeFile(join(seeds, 'web.raw'), written.image);
    await truncate(join(seeds, 'web.raw'), source.sizeBytes);
    await writeFile(join(seeds, 'short.raw'), Buffer.alloc(MiB));
    const create = (seed: string): Promise<CommandResult> => runCommand(process.execPath, [
      appEntry('cli/bin/tidemark.mjs'), '--site', 'a', 'vpgs', 'create', '--name', 'seeded', '--vm', 'web01', '--host', pair.lab.layout.sites.b.hosts[0]!.name, '--datastore', 'datastore-b1',
      '--preseed', `web01=scsi:0:0=${seed}`,
    ], pair.environment);
    for (const name of ['short.raw', 'none.raw']) {
      expect(await create(`seed/${pair.siteId('a')}/${name}`)).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(new RegExp(`no file .*${name} of ${source.sizeBytes} bytes that nobody uses`)) });
    }
    expect(await create('seed/web.raw')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('is not below seed/') });
    expect(await (await pair.api('b')).get('/vpgs')).toEqual([]);
    await written.write(source.nbdUri, 0x52, { atMiB: 3, lengthMiB: 1 });
    const created = await create(`seed/${pair.siteId('a')}/web.raw`);
    expect(created).toMatchObject({ exitCode: 0 });
    const { VpgIdentifier: seededId } = (await (await pair.api('a')).get<{ VpgIdentifier: string }[]>('/vpgs'))[0]!;
    const { sentBytes } = await replicationFigures(pair.lab.layout.sites.a, seededId);
    expect(sentBytes).toBeLessThanOrEqual(1.05 * MiB);
    const vpg = await pair.vpg('b', seededId);
    const { CheckpointIdentifier: checkpointId } = (await vpg.checkpoints()).at(-1)!;
    await vpg.startTest(checkpointId);
    expect((await copy(uriOf(await pair.recovered(1), { vm: 'web01', index: 0 }))).equals(written.image)).toBe(true);
    await vpg.stopTest();
    await (await pair.api('b')).run('DELETE', `/vpgs/${seededId}`, { KeepRecoveryVolumes: true });
    expect((await stat(join(seeds, 'web.raw'))).size).toBe(source.sizeBytes);
  }, 120_000);

  it('after a failover from a dead site: it returns, is compared, and takes the VM back at a checkpoint of the other direction', async () => {
    const app01 = await pair.vm('a', 'app01');
    disk = new WrittenDisk(app01.disks[0]!.sizeBytes);
    await disk.write(await running('a'), 0x11, { atMiB: 1, lengthMiB: 8 });
    vpgId = await pair.protect('turning', ['app01']);
    const before = await tagged('a', 'before');
    await disk.write(await running('a'), 0x12, { atMiB: 40, lengthMiB: 2 }); // lost with the site, and still on its disk when it returns
    await pair.kill('a');
    const atB = await pair.vpg('b', vpgId);
    await atB.failover(before.checkpoint.CheckpointIdentifier);
    disk.image = Buffer.from(before.image);
    await disk.write(await running('b'), 0x21, { atMiB: 4, lengthMiB: 2 });
    await atB.commit({ isReverse: true });
    await disk.write(await running('b'), 0x22, { atMiB: 20, lengthMiB: 3 });
    await pair.start('a');
    await untilProtectedFrom('b');
    await disk.write(await running('b'), 0x23, { atMiB: 30, lengthMiB: 1 });
    const turned = await tagged('b', 'turned');
    await disk.write(await running('b'), 0x24, { atMiB: 0, lengthMiB: 1 });
    const atA = await pair.vpg('a', vpgId);
    await atA.failover(turned.checkpoint.CheckpointIdentifier);
    expect((await copy(await running('a'))).equals(turned.image)).toBe(true);
    await atA.rollback();
  }, 180_000);

  it('after a move: only what changed since travels, and it moves back with every write', async () => {
    await untilProtectedFrom('b');
    await disk.write(await running('b'), 0x31, { atMiB: 10, lengthMiB: 2 });
    const [atA, atB] = [await pair.vpg('a', vpgId), await pair.vpg('b', vpgId)];
    await atA.move({ isReverse: true });
    expect((await copy(await running('a'))).equals(disk.image)).toBe(true);
    await disk.write(await running('a'), 0x32, { atMiB: 12, lengthMiB: 1 });
    await atA.commitMove();
    await disk.write(await running('a'), 0x33, { atMiB: 50, lengthMiB: 1 });
    await untilProtectedFrom('a');
    const { sentBytes } = await replicationFigures(pair.lab.layout.sites.a, vpgId);
    expect(sentBytes).toBeLessThanOrEqual(1.05 * 2 * MiB);
    expect(await syncKindsOf('a')).toEqual(['initialSync', 'bitmapSync']);
    expect(await syncKindsOf('b')).toEqual(['deltaSync']);
    await disk.write(await running('a'), 0x34, { atMiB: 51, lengthMiB: 1 });
    await atB.move();
    expect((await copy(await running('b'))).equals(disk.image)).toBe(true);
  }, 180_000);
});
