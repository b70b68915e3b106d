import { execFile } from 'node:child_process';

/**
 * One fio run against an NBD export.
 * @param {{ uri: string, rw: string, blockSize: string, queueDepth: number, runtimeMs: number, sizeBytes: number, cpu?: number, seed?: number }} job
 * @returns {Promise<{ operations: number, iops: number, bytesPerSecond: number, latencyP99Us: number }>}
 */
export async function runFio(job) {
  const args = [
    '--name=bench', '--ioengine=nbd', `--uri=${job.uri}`, `--rw=${job.rw}`, `--bs=${job.blockSize}`, `--iodepth=${job.queueDepth}`, `--size=${job.sizeBytes}`,
    '--time_based=1', `--runtime=${job.runtimeMs}ms`, '--norandommap=1', '--randrepeat=0', '--end_fsync=0', `--randseed=${job.seed ?? 1}`, '--output-format=json',
  ];
  const [command, ...rest] = job.cpu === undefined ? ['fio', ...args] : ['taskset', '-c', String(job.cpu), 'fio', ...args];
  const output = await new Promise((resolve, reject) => {
    execFile(command, rest, { timeout: job.runtimeMs + 30_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(`fio: ${error.message}\n${stderr}${stdout}`)));
  });
  const [result] = JSON.parse(output.slice(output.indexOf('{'))).jobs; // fio may say something before the JSON
  if (result.error !== 0) throw new Error(`fio: error ${result.error} on ${job.uri}`);
  const direction = job.rw.includes('read') ? result.read : result.write;
  return {
    operations: direction.total_ios,
    iops: direction.iops,
    bytesPerSecond: direction.bw_bytes,
    latencyP99Us: (direction.clat_ns?.percentile?.['99.000000'] ?? 0) / 1000,
  };
}
