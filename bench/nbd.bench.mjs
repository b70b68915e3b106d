/**
 * Our NBD server over a raw file against qemu-nbd and nbdkit over files on the same disk. All servers and fio may use every CPU:
 * the peers have thread pools, and pinning would take that from them. The files hold data before the first round, and what a
 * run left dirty is synced before the next one begins, so that nobody pays for his neighbour.
 */
import { join } from 'node:path';
import { fill, settleFile } from './lib/files.mjs';
import { runFio } from './lib/fio.mjs';
import { cpuMicrosOf, startProcess, waitForSocket } from './lib/processes.mjs';
import { interleaved } from './lib/rounds.mjs';
import { geometricMean, median, quantile, rowAgainstBest } from './lib/statistics.mjs';

export const tools = ['fio', 'qemu-nbd', 'nbdkit'];

const MiB = 1024 * 1024;
const CASES = [
  { name: '4k random write qd1', rw: 'randwrite', blockSize: '4k', queueDepth: 1 },
  { name: '4k random write qd16', rw: 'randwrite', blockSize: '4k', queueDepth: 16 },
  { name: '4k random write qd32', rw: 'randwrite', blockSize: '4k', queueDepth: 32 },
  { name: '4k random read qd32', rw: 'randread', blockSize: '4k', queueDepth: 32 },
  { name: '64k random write qd8', rw: 'randwrite', blockSize: '64k', queueDepth: 8 },
  { name: '1M random write qd4', rw: 'randwrite', blockSize: '1M', queueDepth: 4 },
];
const POINT_GOAL = 0.8;
const MEAN_GOAL = 1.0;

/** The three servers, each over a file of its own. */
function contestants(folder) {
  const socketOf = (name) => join(folder, `${name}.sock`);
  const fileOf = (name) => join(folder, `${name}.raw`);
  return [
    { name: 'tidemark', exportName: 'disk', command: process.execPath, args: [join(import.meta.dirname, 'ends', 'nbd-file-server.mjs'), socketOf('tidemark'), fileOf('tidemark')] },
    { name: 'qemu-nbd', exportName: '', command: 'qemu-nbd', args: ['-f', 'raw', '-t', '-e', '16', '-k', socketOf('qemu-nbd'), fileOf('qemu-nbd')] },
    { name: 'nbdkit', exportName: '', command: 'nbdkit', args: ['-f', '-U', socketOf('nbdkit'), 'file', fileOf('nbdkit')] },
  ].map((contestant) => ({ ...contestant, file: fileOf(contestant.name), socket: socketOf(contestant.name), uri: `nbd+unix:///${contestant.exportName}?socket=${socketOf(contestant.name)}` }));
}

async function measure(contestant, job) {
  const before = cpuMicrosOf(contestant.server.pid);
  const result = await runFio({ uri: contestant.uri, ...job });
  const cpuMicros = (cpuMicrosOf(contestant.server.pid) - before) / Math.max(1, result.operations);
  settleFile(contestant.file);
  return { iops: result.iops, cpuMicros };
}

function rowFor(name, samples) {
  const iops = (contestant) => samples[contestant].map((sample) => sample.iops);
  const row = rowAgainstBest({ case: name, unit: 'IOPS', goal: POINT_GOAL, ours: iops('tidemark'), peers: { 'qemu-nbd': iops('qemu-nbd'), nbdkit: iops('nbdkit') } });
  const cpu = (contestant) => median(samples[contestant].map((sample) => sample.cpuMicros));
  return { ...row, cpuMicros: { ours: cpu('tidemark'), peer: cpu(row.peerName) } };
}

/** The better peer of each case, as one figure. */
function meanRow(rows) {
  const mean = (of) => geometricMean(rows.map(of));
  return {
    case: 'geometric mean', unit: 'IOPS', ours: mean((row) => row.ours), peer: mean((row) => row.peer), peerName: 'best of both', ratio: mean((row) => row.ratio), goal: MEAN_GOAL,
    spread: [0, 1].map((q) => quantile(rows.map((row) => row.ratio), q)),
  };
}

export async function run({ rounds, isTiny, only, folder, progress }) {
  const sizeBytes = (isTiny ? 8 : 1024) * MiB;
  const runtimeMs = isTiny ? 100 : 1500;
  const all = contestants(folder);
  try {
    for (const contestant of all) {
      fill(contestant.file, sizeBytes);
      contestant.server = startProcess(contestant.command, contestant.args);
      await waitForSocket(contestant.socket, contestant.server);
    }
    const rows = [];
    for (const { name, ...job } of CASES.filter((each) => each.name.includes(only))) {
      const samples = await interleaved({ rounds, contestants: all, measure: (contestant, round) => measure(contestant, { ...job, runtimeMs, sizeBytes, seed: round + 1 }) });
      rows.push(rowFor(name, samples));
      progress(`${name}: ratio ${rows.at(-1).ratio.toFixed(2)}`);
    }
    return [...rows, meanRow(rows)];
  } finally {
    await Promise.all(all.map((contestant) => contestant.server?.stop()));
  }
}
