import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { BlockFile } from '@tidemark/block-file';
import { FileBench, IDENTITY } from '@tidemark/journal-file/testing';
import { plainTransport } from '@tidemark/link/plain';
import { VraEngine } from './vra-engine.js';

const SITE = 'aaaaaaaa-0000-4000-8000-000000000001';
const HOUR_MS = 3_600_000;
const AT_MS = 1_790_000_000_000;

it('the age of a checkpoint has in it the time that the VRA was down, also of the one that came as the last thing before', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-ages-'));
  const mirrorPath = join(folder, 'disk.raw');
  const mirror = await BlockFile.open({ path: mirrorPath, sizeBytes: MiB, isReadOnly: false, create: true });
  const bench = await FileBench.make({ folder: join(folder, 'journal'), mirrors: [mirror], clocks: { monotonicMs: () => performance.now(), wallClockMs: () => AT_MS } });
  await bench.base();
  await bench.checkpoint();
  await bench.journal.close();
  await mirror.close();
  const self = { siteId: SITE, role: 'vra', instanceId: 'r' } as const;
  const engine = await VraEngine.start({
    vraId: 'r', transport: plainTransport({ self, peer: self }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'r.sock'), stateFolder: join(folder, 'state'),
    captureBytesMax: MiB, log: { info: () => undefined, warn: () => undefined, error: () => undefined }, ageClock: { clocks: { monotonicMs: () => performance.now(), wallClockMs: () => AT_MS + HOUR_MS } },
  });
  try {
    await engine.putRecovery({
      ...IDENTITY, protectedSiteId: SITE, epoch: 1, recoverers: [], volumes: [{ diskId: '', sizeBytes: MiB, mirrorPath }],
      journalFolder: join(folder, 'journal'), datastore: { path: folder, capacityBytes: 1024 * MiB }, historyMs: 24 * HOUR_MS,
    });
    const [{ ageMs } = { ageMs: 0 }] = engine.listCheckpoints(IDENTITY).held;
    expect(ageMs).toBeGreaterThanOrEqual(HOUR_MS);
    expect(ageMs).toBeLessThan(2 * HOUR_MS);
  } finally {
    await engine.close();
    await rm(folder, { recursive: true });
  }
});
