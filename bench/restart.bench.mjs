/**
 * SIGKILL of a recovering VRA process, start again, until the protecting VRA replicates into it again, the next checkpoint listed: over journals of 10⁴ and 10⁷ writes (512 bytes
 * each, made beforehand through the real writer). The protected disk has 64 MiB.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BlockFile } from '@tidemark/block-file';
import { SITE_ID, startEngine } from './lib/engine.mjs';
import { fill } from './lib/files.mjs';
import { makeJournal } from './lib/journal.mjs';
import { median, quantile } from './lib/statistics.mjs';

export const tools = [];

const MiB = 1024 * 1024;
const VPG = 'c2f8a1d4-0000-4000-8000-000000000002';
const RESTART_MS_MAX = 5000;
const KILLS = 3;

const LIST = { vpgId: VPG, vmId: 'vm' };
const newestOf = ({ held }) => held.at(-1)?.checkpointId ?? 0;

async function until(isTrue) {
  while (!(await isTrue())) await delay(10);
}

async function pair({ folder, writes, sizeBytes }) {
  mkdirSync(join(folder, 'recovery'), { recursive: true });
  const mirrorPath = join(folder, 'recovery', 'mirror.raw');
  const journalFolder = join(folder, 'recovery', 'journal');
  const mirror = await BlockFile.open({ path: mirrorPath, sizeBytes, isReadOnly: false, create: true });
  const journal = await makeJournal({ folder: journalFolder, identity: { vpgId: VPG, vmId: 'vm' }, volumes: [{ diskId: 'disk', sizeBytes, mirror }], writes, payloadBytes: 512 });
  await journal.close();
  await mirror.close();
  const file = join(folder, 'protected.raw');
  fill(file, sizeBytes);
  const protecting = await startEngine({ vraId: 'protecting', folder });
  const recovering = await startEngine({ vraId: 'recovering', folder });
  await recovering.call('putRecovery', {
    vpgId: VPG, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: ['vm'] }], historyMs: 86_400_000, volumes: [{ diskId: 'disk', sizeBytes, mirrorPath }], journalFolder,
    datastore: { path: join(folder, 'recovery'), capacityBytes: 1024 ** 4 },
  });
  await protecting.call('applyDesiredState', {
    revision: 1, attachedVms: [{ vmId: 'vm', disks: [{ diskId: 'disk', exportName: 'disk', path: file, sizeBytes }] }],
    protections: [{ vpgId: VPG, vmId: 'vm', epoch: 1, diskIds: ['disk'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }],
    barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 200, members: [{ vra: protecting.address, vmIds: ['vm'] }] }],
  });
  await until(async () => (await protecting.call('status')).protections[0]?.state === 'replicating' && newestOf(await recovering.call('listCheckpoints', LIST)) > 2);
  return { protecting, recovering };
}

/** Milliseconds from the kill on. */
async function restart(vras, folder) {
  const before = newestOf(await vras.recovering.call('listCheckpoints', LIST));
  const { address } = vras.recovering;
  const from = performance.now();
  await vras.recovering.kill();
  vras.recovering = await startEngine({ vraId: 'recovering', folder, controlPort: address.controlPort, dataPort: address.dataPort });
  await until(async () => newestOf(await vras.recovering.call('listCheckpoints', LIST).catch(() => ({ held: [] }))) > before);
  return performance.now() - from;
}

export async function run({ isTiny, only, folder, progress }) {
  const rows = [];
  for (const exponent of [4, 7]) {
    const name = `10^${exponent} writes: SIGKILL to the next checkpoint`;
    if (!name.includes(only)) continue;
    const own = join(folder, String(exponent));
    mkdirSync(own);
    const vras = await pair({ folder: own, writes: 10 ** exponent / (isTiny ? 1000 : 1), sizeBytes: (isTiny ? 4 : 64) * MiB });
    try {
      const ms = [];
      for (let kill = 0; kill < (isTiny ? 1 : KILLS); kill += 1) ms.push(await restart(vras, own));
      progress(`${name}: ${ms.map((each) => each.toFixed(0)).join(', ')} ms`);
      const spread = [quantile(ms, 0.75), quantile(ms, 0.25)].map((each) => RESTART_MS_MAX / each);
      rows.push({ case: name, unit: 'ms', ours: median(ms), peer: RESTART_MS_MAX, peerName: 'bound', ratio: RESTART_MS_MAX / median(ms), goal: 1, spread });
    } finally {
      await vras.protecting.stop();
      await vras.recovering.stop();
    }
  }
  return rows;
}
