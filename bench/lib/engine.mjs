import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Of both ends: the site recovers into itself. */
export const SITE_ID = '5d4f7a52-0000-4000-8000-000000000001';

const PROGRAM = join(import.meta.dirname, '..', '..', 'libs', 'testing', 'dist', 'vra', 'engine-process.js');

const nameOf = (instanceId) => ({ siteId: SITE_ID, role: 'vra', instanceId });

/**
 * A VRA engine in a process of its own, on one CPU: the program that the crash tests drive too.
 * @param {{ vraId: string, folder: string, cpu?: number, captureBytesMax?: number, site?: TestSite }} options `site`: mutual TLS with certificates of its CA,
 * as every app has it; without, TCP alone, which only this harness can have
 */
export async function startEngine({ vraId, folder, cpu, captureBytesMax, controlPort = 0, dataPort = 0, site }) {
  const socket = join(folder, `${vraId}.sock`);
  await site?.identity(vraId);
  const options = {
    ...(site ? { trustFolder: site.identityFolder(vraId) } : { plain: { self: nameOf(vraId), peer: nameOf(vraId === 'protecting' ? 'recovering' : 'protecting') } }),
    vraId, address: '127.0.0.1', controlPort, dataPort, nbdSocketPath: socket, stateFolder: join(folder, `${vraId}-state`),
    captureBytesMax: captureBytesMax ?? 414 * 1024 * 1024, // an appliance with 1 GiB of RAM
  };
  const command = [process.execPath, PROGRAM, JSON.stringify(options)];
  const pinned = cpu === undefined ? command : ['taskset', '-c', String(cpu), ...command];
  const child = spawn(pinned[0], pinned.slice(1), { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, UV_THREADPOOL_SIZE: '16' } });
  const waiting = new Map();
  let nextId = 1;
  const address = new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`engine ${vraId} ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line);
      if (message.logged) return process.stderr.write(`${vraId}: ${message.logged}\n`);
      if (message.address) return resolve(message.address);
      const waiter = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) waiter?.reject(new Error(`${vraId}: ${message.error}`));
      else waiter?.resolve(message.result);
    });
  });
  return {
    socket,
    pid: child.pid,
    address: await address,
    call(call, args = {}) {
      const id = nextId;
      nextId += 1;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        child.stdin.write(`${JSON.stringify({ id, call, args })}\n`);
      });
    },
    /** SIGKILL. */
    async kill() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}
