/**
 * Data plane: from asking the recovering VRA for the disks of N VMs at their newest checkpoint until each has answered a read of its first sector over
 * NBD; scratch is made and the views are durable within that time. Whole: see lib/lab-failover.mjs. The peer: starting as many qemu-nbd on qcow2
 * overlays that are there already, until each has answered the same. Any CPU for everyone.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SITE_ID, startEngine } from './lib/engine.mjs';
import { startLabFailover } from './lib/lab-failover.mjs';
import { startLoad } from './lib/load.mjs';
import { readFirstSector } from './lib/nbd-read.mjs';
import { startProcess } from './lib/processes.mjs';
import { interleaved } from './lib/rounds.mjs';
import { rowOf } from './lib/statistics.mjs';

export const tools = ['qemu-nbd', 'qemu-img', 'taskset'];

const MiB = 1024 * 1024;
const SIZE_BYTES = 8 * MiB;
const VMS_PER_VPG = 10;
const PEER_GOAL = 1 / 3;
/** A long journal may cost half as much again: the measurement of some ms, not the journal's length. */
const LENGTH_GOAL = 0.67;

const vpgOf = (vm) => `f2f8a1d4-0000-4000-8000-${String(1 + Math.floor(vm / VMS_PER_VPG)).padStart(12, '0')}`;

function emptyDisk(path) {
  closeSync(openSync(path, 'w'));
  truncateSync(path, SIZE_BYTES);
  return path;
}

async function protectedVms({ folder, count }) {
  const protecting = await startEngine({ vraId: 'protecting', folder });
  const recovering = await startEngine({ vraId: 'recovering', folder });
  const vms = Array.from({ length: count }, (_, vm) => ({ vmId: `vm-${vm}`, vpgId: vpgOf(vm), exportName: `disk-${vm}`, path: emptyDisk(join(folder, `disk-${vm}.raw`)) }));
  const vpgs = Map.groupBy(vms, ({ vpgId }) => vpgId);
  const recovery = join(folder, 'recovery');
  await Promise.all(vms.map(({ vmId, vpgId }) => recovering.call('putRecovery', {
    vpgId, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: vpgs.get(vpgId).map((vm) => vm.vmId) }], historyMs: 3_600_000,
    volumes: [{ diskId: 'disk', sizeBytes: SIZE_BYTES, mirrorPath: join(recovery, `${vmId}.raw`) }], journalFolder: join(recovery, 'journals', vmId),
    datastore: { path: recovery, capacityBytes: 1024 ** 4 },
  })));
  await protecting.call('applyDesiredState', {
    revision: 1,
    attachedVms: vms.map(({ vmId, exportName, path }) => ({ vmId, disks: [{ diskId: 'disk', exportName, path, sizeBytes: SIZE_BYTES }] })),
    protections: vms.map(({ vmId, vpgId }) => ({ vpgId, vmId, epoch: 1, diskIds: ['disk'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' })),
    barriers: [...vpgs].map(([vpgId, members]) => ({ vpgId, version: 1, epoch: 1, intervalMs: 1000, members: [{ vra: protecting.address, vmIds: members.map(({ vmId }) => vmId) }] })),
  });
  return { protecting, recovering, vms };
}

/** Writes over all disks, the first one much more: its journal is the long one. */
async function fillJournals({ protecting, recovering, vms }, { everyMs, longMs }) {
  for (const [exportNames, runtimeMs] of [[vms.map(({ exportName }) => exportName), everyMs], [[vms[0].exportName], longMs]]) {
    const load = await startLoad({ socket: protecting.socket, exportNames, sizeBytes: SIZE_BYTES, blockBytes: 4096, depth: 32 });
    await load.run({ runtimeMs, seed: 1 });
    load.stop();
  }
  for (;;) {
    const { protections } = await protecting.call('status');
    if (protections.every(({ state, lagBytes }) => state === 'replicating' && lagBytes === 0)) break;
    await delay(50);
  }
  await delay(2500); // a checkpoint behind the last write of each
  for (const vm of vms) {
    const { held } = await recovering.call('listCheckpoints', { vpgId: vm.vpgId, vmId: vm.vmId });
    vm.checkpointId = held.at(-1)?.checkpointId;
    if (vm.checkpointId === undefined) throw new Error(`VM ${vm.vmId} has no checkpoint`);
  }
}

/** ms until the disks of these VMs answer. */
async function ours({ recovering }, vms) {
  const views = vms.map((vm) => ({ vm, viewId: randomUUID() }));
  const startedAtMs = performance.now();
  await Promise.all(views.map(async ({ vm, viewId }) => {
    const exportName = `view-${viewId}`;
    await recovering.call('openView', { vpgId: vm.vpgId, vmId: vm.vmId, viewId, checkpointId: vm.checkpointId, purpose: 'test', volumes: [{ diskId: 'disk', exportName }] });
    await readFirstSector(recovering.socket, exportName);
  }));
  const ms = performance.now() - startedAtMs;
  for (const { viewId } of views) await recovering.call('closeView', { viewId });
  return ms;
}

function overlaysOf(folder, vms) {
  return vms.map(({ path }, index) => {
    const overlay = join(folder, `overlay-${index}.qcow2`);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'raw', overlay]);
    return { overlay, socket: join(folder, `overlay-${index}.sock`) };
  });
}

async function peers(overlays) {
  const startedAtMs = performance.now();
  const servers = overlays.map(({ overlay, socket }) => startProcess('qemu-nbd', ['-f', 'qcow2', '-t', '-k', socket, overlay]));
  await Promise.all(overlays.map(async ({ socket }, index) => {
    for (;;) {
      try {
        await readFirstSector(socket, '');
        return;
      } catch (error) {
        if (!servers[index].isAlive) throw new Error(`qemu-nbd ended: ${servers[index].output}`, { cause: error });
        await delay(2);
      }
    }
  }));
  const ms = performance.now() - startedAtMs;
  await Promise.all(servers.map((server) => server.stop()));
  return ms;
}

const numberText = (count) => `${count} VM${count === 1 ? '' : 's'}`;

async function againstPeer({ rounds, part, count, measure, overlays, progress }) {
  const contestants = [{ name: 'ours', measure }, { name: 'peer', measure: () => peers(overlays.slice(-count)) }];
  const samples = await interleaved({ rounds, contestants, measure: (contestant) => contestant.measure() });
  const row = rowOf({ case: `${numberText(count)}, ${part}`, unit: 'ms', goal: PEER_GOAL, ours: samples.ours, peer: samples.peer, peerName: 'qemu-nbd on qcow2', isLessBetter: true });
  progress(`${row.case}: ratio ${row.ratio.toFixed(2)}`);
  return row;
}

async function wholeRows({ rounds, counts, overlays, progress }) {
  const lab = await startLabFailover({ counts, diskBytes: SIZE_BYTES, progress });
  try {
    const rows = [];
    for (const count of counts) rows.push(await againstPeer({ rounds, part: 'whole', count, measure: () => lab.measure(count), overlays, progress }));
    return rows;
  } finally {
    await lab.stop();
  }
}

export async function run({ rounds, isTiny, folder, progress }) {
  const counts = isTiny ? [1, 3] : [1, 10, 100];
  const { rows, overlays } = await dataPlaneRows({ rounds, isTiny, counts, folder, progress });
  return [...rows, ...await wholeRows({ rounds, counts: isTiny ? [1] : counts, overlays, progress })];
}

async function dataPlaneRows({ rounds, isTiny, counts, folder, progress }) {
  const site = await protectedVms({ folder, count: counts.at(-1) });
  try {
    await fillJournals(site, isTiny ? { everyMs: 50, longMs: 100 } : { everyMs: 2000, longMs: 10_000 });
    progress(`${site.vms.length} VMs protected, journals filled`);
    const overlays = overlaysOf(folder, site.vms);
    const rows = [];
    for (const count of counts) rows.push(await againstPeer({ rounds, part: 'data plane', count, measure: () => ours(site, site.vms.slice(-count)), overlays, progress }));
    const { recoveries } = await site.recovering.call('status');
    const bytesOf = (vm) => recoveries.find(({ vmId }) => vmId === vm.vmId)?.journalBytes ?? 0;
    const [long, short] = [site.vms[0], site.vms.at(-1)];
    const samples = await interleaved({ rounds, contestants: [long, short].map((vm, i) => ({ name: i === 0 ? 'long' : 'short', vm })), measure: ({ vm }) => ours(site, [vm]) });
    const inMiB = (vm) => `${(bytesOf(vm) / MiB).toFixed(bytesOf(vm) < 10 * MiB ? 1 : 0)} MiB`;
    rows.push(rowOf({ case: `1 VM, journal of ${inMiB(long)} ÷ ${inMiB(short)}`, unit: 'ms', goal: LENGTH_GOAL, ours: samples.long, peer: samples.short, peerName: 'short journal', isLessBetter: true }));
    return { rows, overlays };
  } finally {
    await Promise.all([site.protecting.stop(), site.recovering.stop()]);
  }
}
