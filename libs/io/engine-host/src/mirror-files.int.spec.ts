import { chmod, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { BlockFile } from '@tidemark/block-file';
import { FileBench, IDENTITY, mark, syncStart, write } from '@tidemark/journal-file/testing';
import { RecordType } from '@tidemark/frame';
import * as actual from '@tidemark/sys/replace-file';
import { plainTransport } from '@tidemark/link/plain';
import type { VraEngine } from './vra-engine.js';

/** The files of mirrors over restarts. Of a disk that was grown behind the checkpoint that it is promoted at: the VRA dies at each durable write on the way to its old size. */
let onReplace: (path: string, act: () => Promise<void>) => Promise<void> = (_, act) => act();
jest.unstable_mockModule('@tidemark/sys/replace-file', () => ({
  ...actual,
  replaceFile: (path: string, text: string, mode: number) => onReplace(path, () => actual.replaceFile(path, text, mode)),
}));
const engineHost = await import('./vra-engine.js');

const SIZE = MiB / 16;
const SITE = 'aaaaaaaa-0000-4000-8000-000000000001';
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const VIEW = { viewId: 'view-1', ...IDENTITY, checkpointId: 1, purpose: 'live', volumes: [{ diskId: '', exportName: 'vm-1-0' }] } as const;

let folder: string;
let engine: VraEngine | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-promoted-'));
  const mirror = await BlockFile.open({ path: disk(), sizeBytes: SIZE, isReadOnly: false, create: true });
  const bench = await FileBench.make({ folder: join(folder, 'journal'), mirrors: [mirror] });
  await bench.base();
  await bench.sendDurable([write(0, Buffer.alloc(4096, 1)), write(SIZE - 4096, Buffer.alloc(4096, 2))]);
  await bench.checkpoint();
  await mirror.grow(2 * SIZE);
  await bench.journal.changeVolumes([{ sizeBytes: 2 * SIZE, mirror }]);
  await bench.begin();
  await bench.sendDurable([syncStart(), write(2 * SIZE - 4096, Buffer.alloc(4096, 3)), mark(RecordType.syncEnd)]);
  await bench.checkpoint();
  await bench.journal.close();
  await mirror.close();
});

afterEach(async () => {
  onReplace = (_, act) => act();
  await engine?.close();
  engine = undefined;
  await rm(folder, { recursive: true });
});

const disk = (): string => join(folder, 'disk.raw');
const sizeOf = async (): Promise<number> => (await stat(disk())).size;

async function restart(): Promise<VraEngine> {
  await engine?.close();
  const self = { siteId: SITE, role: 'vra', instanceId: 'r' } as const;
  engine = await engineHost.VraEngine.start({
    vraId: 'r', transport: plainTransport({ self, peer: self }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'r.sock'),
    stateFolder: join(folder, 'state'), captureBytesMax: MiB, log: quiet,
  });
  return engine;
}

const recovery = () => ({
  ...IDENTITY, protectedSiteId: SITE, epoch: 1, recoverers: [], volumes: [{ diskId: '', sizeBytes: 2 * SIZE, mirrorPath: disk() }],
  journalFolder: join(folder, 'journal'), datastore: { path: folder, capacityBytes: 1024 * MiB }, historyMs: 3_600_000,
});

/** Failed over to the checkpoint of before the growth, committed, and promoting. */
async function promoting(): Promise<void> {
  const vra = await restart();
  await vra.putRecovery({ ...recovery(), volumes: recovery().volumes.map((volume) => ({ ...volume, isPreseeded: true })) });
  await vra.reserveEpoch({ ...IDENTITY, epoch: 2 });
  await vra.openView(VIEW);
  await vra.commitEpoch({ ...IDENTITY, epoch: 2 });
}

async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (const endMs = Date.now() + 60_000; !isTrue(); await new Promise((resolve) => setTimeout(resolve, 5))) if (Date.now() > endMs) throw new Error(`no ${what}: ${JSON.stringify(engine?.status().views)}`);
}

const isPromoted = (): boolean => engine?.status().views[0]?.state === 'promoted';

async function expectDiskOfTheCheckpoint(): Promise<void> {
  expect(await sizeOf()).toBe(SIZE);
  const bytes = await readFile(disk());
  expect([bytes[0], bytes[SIZE - 1]]).toEqual([1, 2]);
}

describe('recovery volumes', () => {
  const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

  it('are for nobody else to read: a new one and its folder, and a preseeded one from when it is taken', async () => {
    await rm(join(folder, 'journal'), { recursive: true });
    await chmod(disk(), 0o644);
    const made = join(folder, 'vm', 'made.raw');
    const [preseeded] = recovery().volumes.map((volume) => ({ ...volume, isPreseeded: true }));
    if (!preseeded) throw new Error('no volume');
    await (await restart()).putRecovery({ ...recovery(), volumes: [preseeded, { diskId: 'b', sizeBytes: SIZE, mirrorPath: made }] });
    expect(await Promise.all([made, join(folder, 'vm'), disk()].map(modeOf))).toEqual([0o600, 0o700, 0o600]);
  });

  it('are not made anew by a VRA that has lost its state, and are found again when they are there', async () => {
    await (await restart()).putRecovery(recovery());
    await engine?.close();
    await rm(join(folder, 'state', 'recovering.json'));
    await rename(disk(), `${disk()}.away`);
    await expect((await restart()).putRecovery(recovery())).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    await expect(stat(disk())).rejects.toMatchObject({ code: 'ENOENT' });
    await rename(`${disk()}.away`, disk());
    await engine?.putRecovery(recovery());
    expect(engine?.listCheckpoints(IDENTITY).held.map(({ checkpointId }) => checkpointId)).toEqual([1, 2]);
  });
});

describe('a disk that is promoted at a checkpoint from before it was grown', () => {
  it('is as long as it was then when it is called promoted, and stays so', async () => {
    await promoting();
    expect(await sizeOf()).toBe(2 * SIZE);
    await engine?.promoteView(VIEW.viewId);
    await until('promotion', isPromoted);
    await expectDiskOfTheCheckpoint();
    await restart();
    await until('promotion', isPromoted);
    await expectDiskOfTheCheckpoint();
  });

  it.each(['before', 'behind'] as const)('gets its size from the next process when the first one is killed %s the smaller size is durable', async (side) => {
    await promoting();
    let writes = 0;
    let isKilled = false;
    onReplace = async (_, act) => {
      writes += 1;
      // The first one says that the view is being promoted.
      if (writes === 2 && side === 'behind') await act();
      isKilled ||= writes === 2;
      if (isKilled) throw new Error('killed');
      await act();
    };
    await engine?.promoteView(VIEW.viewId);
    await until('failure', () => engine?.status().views[0]?.state === 'failed');
    // Mirror and state agree in this order only: a file that is shorter than the state says does not open.
    expect(await sizeOf()).toBe(2 * SIZE);
    expect(isPromoted()).toBe(false);
    onReplace = (_, act) => act();
    await restart();
    await until('promotion', isPromoted);
    await expectDiskOfTheCheckpoint();
  });
});

describe('a recovery volume that is gone when the VRA starts', () => {
  it('is asked for, and not made anew with zeroes under checkpoints that need what it held', async () => {
    await (await restart()).putRecovery(recovery());
    await engine?.close();
    await rename(disk(), `${disk()}.away`);
    await restart();
    expect(engine?.status().recoveries).toMatchObject([{ state: 'broken', detail: expect.stringContaining('is gone: bring it back') }]);
    await expect(stat(disk())).rejects.toMatchObject({ code: 'ENOENT' });
    await rename(`${disk()}.away`, disk());
    await until('recovery', () => engine?.status().recoveries[0]?.state !== 'broken');
    expect(engine?.listCheckpoints(IDENTITY).held.map(({ checkpointId }) => checkpointId)).toEqual([1, 2]);
  });

  it('is made when it was never there: a disk that was added while the recovery could not be opened', async () => {
    await (await restart()).putRecovery(recovery());
    const second = join(folder, 'second.raw');
    await engine?.close();
    await rename(disk(), `${disk()}.away`);
    await restart();
    const wider = { ...recovery(), volumes: [...recovery().volumes, { diskId: 'b', sizeBytes: SIZE, mirrorPath: second }] };
    await expect(engine?.putRecovery(wider)).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    await rename(`${disk()}.away`, disk());
    await engine?.putRecovery(wider);
    expect((await stat(second)).size).toBe(SIZE);
  });
});
