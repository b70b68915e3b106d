import { readFile } from 'node:fs/promises';

/**
 * Has nats-server read its certificate again: SIGHUP to the process of `pidFile`; open connections stay. nats-server 2.9 has no message for it.
 * @returns what kept it from being told, and what to do; undefined: it was told.
 */
export async function reloadNats(pidFile: string | undefined): Promise<string | undefined> {
  if (pidFile === undefined) return 'TIDEMARK_NATS_PID_FILE is not set; run nats-server --signal reload where the server runs';
  try {
    const pid = Number((await readFile(pidFile, 'utf8')).trim());
    if (!Number.isInteger(pid) || pid <= 1) return `${pidFile} holds no process id`;
    // A pid file outlives its process, and the pid may be somebody else's by now: HUP ends most programs.
    const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
    if (name !== 'nats-server') return `process ${pid} of ${pidFile} is ${name}, not nats-server`;
    process.kill(pid, 'SIGHUP');
    return undefined;
  } catch (error) {
    return `${(error as Error).message}; run nats-server --signal reload where the server runs`;
  }
}
