/**
 * 1, 100 and 1500 protected volumes on one VRA: 4k random writes over all of them, 32 outstanding in all, captured, shipped and journalled; and what an idle
 * volume costs. The peer is the same VRA with one volume. VMs of three disks, VPGs of ten VMs, checkpoints every 5 s. All pairs of VRAs run all
 * the time and are loaded in turn: an idle one keeps up its checkpoints meanwhile.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SITE_ID, startEngine } from './lib/engine.mjs';
import { startLoad } from './lib/load.mjs';
import { cpuMicrosOf } from './lib/processes.mjs';
import { interleaved } from './lib/rounds.mjs';
import { median, rowOf } from './lib/statistics.mjs';

export const tools = ['taskset'];

const MiB = 1024 * 1024;
const SIZE_BYTES = 8 * MiB;
const DISKS_PER_VM = 3;
const VMS_PER_VPG = 10;
const DEPTH = 32;
const THROUGHPUT_GOAL = 0.8;
/** Of memory per idle volume, both ends together. */
const IDLE_BYTES_MAX = 1 * MiB;
const READY_MS_MAX = 120_000;

const vpgOf = (vm) => `c2f8a1d4-0000-4000-8000-${String(1 + Math.floor(vm / VMS_PER_VPG)).padStart(12, '0')}`;

function vmsOf(volumeCount, folder) {
  const vms = [];
  for (let volume = 0; volume < volumeCount; ) {
    const vmId = `vm-${vms.length}`;
    const disks = [];
    for (; disks.length < DISKS_PER_VM && volume < volumeCount; volume += 1) {
      const path = join(folder, `disk-${volume}.raw`);
      closeSync(openSync(path, 'w'));
      truncateSync(path, SIZE_BYTES);
      disks.push({ diskId: `disk-${disks.length}`, exportName: `disk-${volume}`, path, sizeBytes: SIZE_BYTES });
    }
    vms.push({ vmId, vpgId: vpgOf(vms.length), disks });
  }
  return vms;
}

/** Resident memory, bytes. */
const residentBytesOf = (pid) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;

async function pair({ folder, volumeCount, progress }) {
  mkdirSync(folder);
  const vms = vmsOf(volumeCount, folder);
  const protecting = await startEngine({ vraId: 'protecting', folder, cpu: 0 });
  const recovering = await startEngine({ vraId: 'recovering', folder, cpu: 1 });
  const pids = [protecting.pid, recovering.pid];
  const emptyBytes = pids.map(residentBytesOf);
  const recovery = join(folder, 'recovery');
  const vpgs = Map.groupBy(vms, ({ vpgId }) => vpgId);
  const startedAtMs = performance.now();
  await Promise.all(vms.map(({ vmId, vpgId, disks }) => recovering.call('putRecovery', {
    vpgId, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: vpgs.get(vpgId).map((vm) => vm.vmId) }], historyMs: 3_600_000,
    volumes: disks.map(({ diskId, sizeBytes }) => ({ diskId, sizeBytes, mirrorPath: join(recovery, `${vmId}-${diskId}.raw`) })),
    journalFolder: join(recovery, 'journals', vmId), datastore: { path: recovery, capacityBytes: 1024 ** 4 },
  })));
  await protecting.call('applyDesiredState', {
    revision: 1,
    attachedVms: vms.map(({ vmId, disks }) => ({ vmId, disks })),
    protections: vms.map(({ vmId, vpgId, disks }) => ({ vpgId, vmId, epoch: 1, diskIds: disks.map(({ diskId }) => diskId), recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' })),
    barriers: [...vpgs].map(([vpgId, members]) => ({ vpgId, version: 1, epoch: 1, intervalMs: 5000, members: [{ vra: protecting.address, vmIds: members.map(({ vmId }) => vmId) }] })),
  });
  await settled(protecting, volumeCount);
  progress(`${volumeCount} volumes, ${vms.length} VMs: protected and in sync after ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
  return { name: String(volumeCount), volumeCount, protecting, pids, emptyBytes, load: await loadOf(protecting, vms), stop: () => Promise.all([protecting.stop(), recovering.stop()]) };
}

/** A VRA that serves as many volumes and captures nothing. */
async function unprotected({ folder, volumeCount }) {
  mkdirSync(folder);
  const vms = vmsOf(volumeCount, folder);
  const vra = await startEngine({ vraId: 'protecting', folder, cpu: 0 });
  await vra.call('applyDesiredState', { revision: 1, attachedVms: vms.map(({ vmId, disks }) => ({ vmId, disks })), protections: [], barriers: [] });
  return { name: nameOfUnprotected(volumeCount), volumeCount, protecting: vra, pids: [vra.pid], load: await loadOf(vra, vms), stop: () => vra.stop() };
}

const nameOfUnprotected = (volumeCount) => `${volumeCount}-unprotected`;

const loadOf = (vra, vms) => startLoad({
  socket: vra.socket, exportNames: vms.flatMap(({ disks }) => disks.map(({ exportName }) => exportName)), sizeBytes: SIZE_BYTES, blockBytes: 4096, depth: DEPTH, cpu: 0,
});

async function settled(protecting, volumeCount) {
  const untilMs = performance.now() + READY_MS_MAX;
  for (;;) {
    const { protections } = await protecting.call('status');
    const behind = protections.find(({ state, lagBytes }) => state !== 'replicating' || lagBytes > 0);
    if (behind === undefined) return;
    if (performance.now() > untilMs) throw new Error(`${volumeCount} volumes: VM ${behind.vmId} is ${behind.state} (${behind.detail}), ${behind.lagBytes} bytes behind`);
    await delay(volumeCount > 100 ? 200 : 20);
  }
}

async function measure(contestant, { runtimeMs, seed }) {
  const { protecting, pids, load, volumeCount } = contestant;
  const before = pids.map(cpuMicrosOf);
  const result = await load.run({ runtimeMs, seed });
  const { protections } = await protecting.call('status');
  await settled(protecting, volumeCount);
  const cpuMicros = pids.reduce((sum, pid, end) => sum + cpuMicrosOf(pid) - before[end], 0) / Math.max(1, result.operations);
  return { ...result, cpuMicros, overflowCount: protections.filter(({ state }) => state !== 'replicating').length };
}

/** CPU of a pair that has nothing to do but its checkpoints, as a share of one CPU per end. */
async function idleCpu({ pids }, ms) {
  const before = pids.map(cpuMicrosOf);
  await delay(ms);
  return pids.map((pid, end) => (cpuMicrosOf(pid) - before[end]) / (ms * 1000));
}

/** `peer` names the same kind of VRA with one volume. */
function throughputRow(contestant, samples, { what, peer, peerName }) {
  const ours = samples[contestant.name];
  const cpuOf = (name) => median(samples[name].map(({ cpuMicros }) => cpuMicros));
  return {
    ...rowOf({ case: `${contestant.volumeCount} volumes, ${what}`, unit: 'IOPS', goal: THROUGHPUT_GOAL, ours: ours.map(({ iops }) => iops), peer: samples[peer].map(({ iops }) => iops), peerName }),
    cpuMicros: { ours: cpuOf(contestant.name), peer: cpuOf(peer) },
    latencyP99Us: median(ours.map(({ latencyP99Us }) => latencyP99Us)),
    latencyMaxUs: Math.max(...ours.map(({ latencyMaxUs }) => latencyMaxUs)),
    overflowCount: ours.reduce((sum, { overflowCount }) => sum + overflowCount, 0),
  };
}

export async function run({ rounds, isTiny, folder, progress }) {
  const counts = isTiny ? [1, 6] : [1, 100, 1500];
  const runtimeMs = isTiny ? 100 : 2000;
  const pairs = [];
  const plain = [];
  try {
    for (const volumeCount of counts) pairs.push(await pair({ folder: join(folder, String(volumeCount)), volumeCount, progress }));
    // Memory is looked at before anything was written, when the initial sync's garbage is gone.
    await delay(isTiny ? 100 : 5000);
    const largest = pairs.at(-1);
    const idleBytes = largest.pids.map((pid, end) => (residentBytesOf(pid) - largest.emptyBytes[end]) / largest.volumeCount);
    const idle = await idleCpu(largest, isTiny ? 100 : 10_000);
    progress(`idle: ${idleBytes.map((bytes) => `${Math.round(bytes / 1024)} KiB`).join(' + ')} per volume, ${idle.map((share) => `${(share * 100).toFixed(1)} %`).join(' + ')} of a CPU`);
    for (const volumeCount of counts) plain.push(await unprotected({ folder: join(folder, nameOfUnprotected(volumeCount)), volumeCount }));
    const samples = await interleaved({ rounds, contestants: [...pairs, ...plain], measure: (contestant, round) => measure(contestant, { runtimeMs, seed: round + 1 }) });
    const total = (idleBytes[0] + idleBytes[1]) / 1024;
    return [
      ...pairs.slice(1).map((contestant) => throughputRow(contestant, samples, { what: 'total', peer: '1', peerName: '1 volume' })),
      ...plain.slice(1).map((contestant) => throughputRow(contestant, samples, { what: 'served and not protected', peer: nameOfUnprotected(1), peerName: '1 volume, not protected' })),
      {
        case: `memory per idle volume, ${largest.volumeCount} volumes, both ends`, unit: 'KiB', ours: total, peer: IDLE_BYTES_MAX / 1024, peerName: 'bound', ratio: IDLE_BYTES_MAX / 1024 / Math.max(total, 1), goal: 1,
        byEnd: idleBytes, idleCpuShare: idle,
      },
    ];
  } finally {
    for (const { load } of [...pairs, ...plain]) load.stop();
    await Promise.all([...pairs, ...plain].map((contestant) => contestant.stop()));
    for (const { name } of [...pairs, ...plain]) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
