import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = join(import.meta.dirname, '..', 'ends', 'nbd-load.mjs');

/**
 * The load generator of many exports, in a process of its own.
 * @param {{ socket: string, exportNames: readonly string[], sizeBytes: number, blockBytes: number, depth: number, cpu?: number }} target
 */
export async function startLoad({ cpu, ...target }) {
  const command = cpu === undefined ? [process.execPath, PROGRAM] : ['taskset', '-c', String(cpu), process.execPath, PROGRAM];
  const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error('the load generator ended');
    return JSON.parse(value);
  };
  await ask(target);
  return { run: ask, stop: () => child.stdin.end() };
}
