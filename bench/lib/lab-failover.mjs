import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = join(import.meta.dirname, '..', '..', 'apps', 'lab', 'dist', 'measure', 'failover-main.js');

/**
 * A failover as its caller sees it: two whole sites of processes (ZVM, PostgreSQL, NATS, VRAs, the simulated hypervisor managers, all connections over TLS), and one VPG for
 * each number of VMs. From the REST call for a failover test until the last recovered disk has answered a read of its first sector.
 * @param {{ counts: readonly number[], diskBytes: number, progress: (text: string) => void }} options
 */
export async function startLabFailover({ counts, diskBytes, progress }) {
  const child = spawn(process.execPath, [PROGRAM, String(diskBytes), ...counts.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the lab of the failover ended by itself');
    return JSON.parse(value);
  };
  for (let said = await next(); said.isReady !== true; said = await next()) progress(said.progress);
  return {
    /** ms from the call until the last disk has answered. */
    async measure(count) {
      child.stdin.write(`${count}\n`);
      return (await next()).ms;
    },
    async stop() {
      child.stdin.end();
      await exited;
    },
  };
}
