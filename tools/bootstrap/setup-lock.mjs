import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { say } from './say.mjs';

const root = realpathSync(dirname(dirname(import.meta.dirname)));
const RETRY_MS = 200;

/** An abstract UNIX socket as a lock: the kernel drops it with the process, so it can never be stale. Linux only. */
function tryLock() {
  const id = createHash('sha256').update(root).digest('hex').slice(0, 16);
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(error.code === 'EADDRINUSE' ? null : { close() {} }));
    server.listen(`\0tidemark-setup-${id}`, () => resolve(server));
  });
}

/** Runs `work` while no other process sets this checkout up. Where abstract sockets do not exist, without a lock. */
export async function withSetupLock(work) {
  let lock = await tryLock();
  if (!lock) say('another process is setting this checkout up; waiting for it');
  while (!lock) {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    lock = await tryLock();
  }
  try {
    return await work();
  } finally {
    lock.close();
  }
}
