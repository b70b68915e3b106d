/**
 * Writes through the nbd-proxy while the stream is shipped to a second process and journalled with fdatasync, against (a) QEMU's mirror job to nbdkit,
 * (b) QEMU's blklogwrites, (c) qemu-nbd without protection, beside a process that makes the same bytes durable. The protected
 * end and fio run on CPU 0, the recovery end on CPU 1; the peers' ends likewise. Each case twice: over plain TCP, which only this harness can build, and, with
 * ` TLS` in its name, over mutual TLS 1.3, as every VRA speaks it; `ours without TLS` as the peer is the cost of that.
 */
import { TestSite } from '@tidemark/testing';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SITE_ID, startEngine } from './lib/engine.mjs';
import { fill, settleFile } from './lib/files.mjs';
import { runFio } from './lib/fio.mjs';
import { cpuMicrosOf, startProcess, waitForSocket } from './lib/processes.mjs';
import { qmp } from './lib/qmp.mjs';
import { interleaved } from './lib/rounds.mjs';
import { median, rowOf } from './lib/statistics.mjs';

export const tools = ['fio', 'qemu-nbd', 'qemu-storage-daemon', 'nbdkit', 'taskset'];

const MiB = 1024 * 1024;
const VPG = 'c2f8a1d4-0000-4000-8000-000000000001';
const CASES = [
  { name: '4k qd1', blockSize: '4k', queueDepth: 1, goals: { mirror: 1.5, log: 1.0 } },
  { name: '4k qd16', blockSize: '4k', queueDepth: 16, goals: { mirror: 1.5, log: 1.0, plain: 1.0 } },
  { name: '4k qd32', blockSize: '4k', queueDepth: 32, goals: { mirror: 1.5, log: 1.0, plain: 1.0 } },
  { name: '64k qd8', blockSize: '64k', queueDepth: 8, goals: { mirror: 1.0 } },
  { name: '1M qd4', blockSize: '1M', queueDepth: 4, goals: { mirror: 1.2 } },
];
/** Ours may take twice as long as unprotected qemu-nbd at the 99th percentile. */
const P99_GOAL = 0.5;
/** Of what the same machine does without TLS. */
const TLS_GOAL = 0.8;
const PEER_NAMES = { tidemark: 'ours without TLS', mirror: 'blockdev-mirror', log: 'blklogwrites', plain: 'qemu-nbd' };

const tidemark = ({ folder, sizeBytes }) => tidemarkPair({ folder, sizeBytes, name: 'tidemark' });
const tidemarkTls = async ({ folder, sizeBytes }) => await tidemarkPair({ folder, sizeBytes, name: 'tidemarkTls', site: await TestSite.in(folder) });

async function tidemarkPair({ folder, sizeBytes, name, site }) {
  const file = join(folder, 'tidemark.raw');
  fill(file, sizeBytes);
  const protecting = await startEngine({ vraId: 'protecting', folder, cpu: 0, site });
  const recovering = await startEngine({ vraId: 'recovering', folder, cpu: 1, site });
  const disk = { diskId: 'disk', exportName: 'disk', path: file, sizeBytes };
  const recovery = join(folder, 'recovery');
  await recovering.call('putRecovery', {
    vpgId: VPG, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: ['vm'] }], historyMs: 3_600_000,
    volumes: [{ diskId: 'disk', sizeBytes, mirrorPath: join(recovery, 'mirror.raw') }], journalFolder: join(recovery, 'journal'),
    datastore: { path: recovery, capacityBytes: 1024 ** 4 },
  });
  await protecting.call('applyDesiredState', {
    revision: 1,
    attachedVms: [{ vmId: 'vm', disks: [disk] }],
    protections: [{ vpgId: VPG, vmId: 'vm', epoch: 1, diskIds: ['disk'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }],
    barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 5000, members: [{ vra: protecting.address, vmIds: ['vm'] }] }],
  });
  return {
    name,
    uri: `nbd+unix:///disk?socket=${protecting.socket}`,
    pids: [protecting.pid, recovering.pid],
    /** Everything durable at the other end, no sync left over: no round pays for the one before. */
    async settle() {
      settleFile(file);
      for (;;) {
        const [{ state, lagBytes }] = (await protecting.call('status')).protections;
        if (state === 'replicating' && lagBytes === 0) return;
        await delay(20);
      }
    },
    /** How the stream stood when the round ended: a round in which it fell back to its bitmap shipped less than it wrote. */
    async state() {
      return (await protecting.call('status')).protections[0].state;
    },
    async stop() {
      await protecting.stop();
      await recovering.stop();
    },
  };
}

async function daemon(name, folder, extra) {
  const socket = join(folder, `${name}.sock`);
  const monitor = join(folder, `${name}.qmp`);
  const server = startProcess('qemu-storage-daemon', [
    ...extra, '--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=16`, '--export', 'nbd,id=export,node-name=top,name=disk,writable=on',
    '--chardev', `socket,id=monitor,path=${monitor},server=on,wait=off`, '--monitor', 'chardev=monitor',
  ], { cpu: 0 });
  await waitForSocket(socket, server);
  return { server, monitor, uri: `nbd+unix:///disk?socket=${socket}` };
}

async function mirror({ folder, sizeBytes }) {
  const [file, target] = [join(folder, 'mirror.raw'), join(folder, 'mirror-target.raw')];
  fill(file, sizeBytes);
  closeSync(openSync(target, 'w'));
  truncateSync(target, sizeBytes);
  const targetSocket = join(folder, 'mirror-target.sock');
  const nbdkit = startProcess('nbdkit', ['-f', '-U', targetSocket, 'file', target], { cpu: 1 });
  await waitForSocket(targetSocket, nbdkit);
  const { server, monitor, uri } = await daemon('mirror', folder, ['--blockdev', `driver=file,node-name=top,filename=${file},cache.direct=off`]);
  await qmp(monitor, [
    { execute: 'blockdev-add', arguments: { driver: 'nbd', 'node-name': 'target', server: { type: 'unix', path: targetSocket } } },
    { execute: 'blockdev-mirror', arguments: { 'job-id': 'mirror', device: 'top', target: 'target', sync: 'none', 'copy-mode': 'write-blocking' } },
  ]);
  return { name: 'mirror', uri, pids: [server.pid, nbdkit.pid], settle: async () => [file, target].forEach(settleFile), stop: async () => Promise.all([server.stop(), nbdkit.stop()]) };
}

async function log({ folder, sizeBytes }) {
  const [file, logFile] = [join(folder, 'log.raw'), join(folder, 'log.log')];
  fill(file, sizeBytes);
  closeSync(openSync(logFile, 'w'));
  const { server, uri } = await daemon('log', folder, [
    '--blockdev', `driver=file,node-name=data,filename=${file},cache.direct=off`,
    '--blockdev', `driver=file,node-name=logfile,filename=${logFile},cache.direct=off`,
    '--blockdev', 'driver=blklogwrites,node-name=top,file=data,log=logfile,log-sector-size=512',
  ]);
  return { name: 'log', uri, pids: [server.pid], settle: async () => [file, logFile].forEach(settleFile), stop: () => server.stop() };
}

async function plain({ folder, sizeBytes }) {
  const file = join(folder, 'plain.raw');
  const socket = join(folder, 'plain.sock');
  fill(file, sizeBytes);
  const server = startProcess('qemu-nbd', ['-f', 'raw', '-t', '-e', '16', '-k', socket, file], { cpu: 0 });
  await waitForSocket(socket, server);
  const writer = startProcess(process.execPath, [join(import.meta.dirname, 'ends', 'same-bytes-writer.mjs'), String(server.pid), join(folder, 'plain-copy')], { cpu: 1 });
  return { name: 'plain', uri: `nbd+unix:///?socket=${socket}`, pids: [server.pid, writer.pid], settle: async () => settleFile(file), stop: async () => Promise.all([writer.stop(), server.stop()]) };
}

async function measure(contestant, job) {
  const before = contestant.pids.map(cpuMicrosOf);
  const result = await runFio({ uri: contestant.uri, rw: 'randwrite', cpu: 0, ...job });
  const state = await contestant.state?.();
  const cpuMicros = contestant.pids.map((pid, index) => (cpuMicrosOf(pid) - before[index]) / Math.max(1, result.operations));
  await contestant.settle();
  return { iops: result.iops, latencyP99Us: result.latencyP99Us, cpuMicros, state };
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** First what the case is without TLS, then the same with it, and that against that without. */
const rowsFor = ({ name, goals }, samples) => [
  ...rowsOf({ name, goals, contestant: 'tidemark' }, samples),
  ...rowsOf({ name: `${name} TLS`, goals: { ...goals, tidemark: TLS_GOAL }, contestant: 'tidemarkTls' }, samples),
];

function rowsOf({ name, goals, contestant: own }, samples) {
  const ours = samples[own];
  const cpuOf = (contestant) => median(samples[contestant].map(({ cpuMicros }) => sum(cpuMicros)));
  const overflowCount = ours.filter(({ state }) => state !== 'replicating').length;
  const rows = Object.entries(goals).map(([peer, goal]) => ({
    ...rowOf({ case: name, unit: 'IOPS', goal, ours: ours.map(({ iops }) => iops), peer: samples[peer].map(({ iops }) => iops), peerName: PEER_NAMES[peer] }),
    cpuMicros: { ours: cpuOf(own), peer: cpuOf(peer) },
    cpuMicrosByEnd: { ours: [0, 1].map((end) => median(ours.map(({ cpuMicros }) => cpuMicros[end]))) },
    overflowCount,
  }));
  const p99 = rowOf({
    case: `${name} p99`, unit: 'µs', goal: P99_GOAL, ours: ours.map(({ latencyP99Us }) => latencyP99Us), peer: samples.plain.map(({ latencyP99Us }) => latencyP99Us), peerName: PEER_NAMES.plain, isLessBetter: true,
  });
  return [...rows, p99];
}

export async function run({ rounds, isTiny, only, folder, progress }) {
  const sizeBytes = (isTiny ? 8 : 512) * MiB;
  const runtimeMs = isTiny ? 100 : 1000;
  const all = [];
  try {
    for (const start of [tidemark, tidemarkTls, mirror, log, plain]) {
      const own = join(folder, start.name);
      mkdirSync(own);
      all.push(await start({ folder: own, sizeBytes }));
    }
    await Promise.all(all.map((contestant) => contestant.settle()));
    const rows = [];
    for (const { name, blockSize, queueDepth, goals } of CASES.filter((each) => each.name.includes(only))) {
      const job = { blockSize, queueDepth, runtimeMs, sizeBytes };
      const samples = await interleaved({ rounds, contestants: all, measure: (contestant, round) => measure(contestant, { ...job, seed: round + 1 }) });
      const made = rowsFor({ name, goals }, samples);
      rows.push(...made);
      progress(made.map((row) => `${row.case} ÷ ${row.peerName}: ${row.ratio.toFixed(2)}`).join(', '));
    }
    return rows;
  } finally {
    await Promise.all(all.map((contestant) => contestant.stop()));
    for (const { name } of all) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
