import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../lab-error.js';

/** A process that was just killed is a zombie already while its other threads still hold its sockets: milliseconds, more on a busy machine. */
const RELEASE_MS = 3000;
const RETRY_MS = 50;

/** Throws LAB_PORT_IN_USE, with what to do, unless `host:port` can be listened on. */
export async function assertPortFree(listen: string, owner: string): Promise<void> {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon);
  const port = Number(listen.slice(colon + 1));
  const deadlineMs = performance.now() + RELEASE_MS;
  let code = await listenFault(host, port);
  while (code === 'EADDRINUSE' && performance.now() < deadlineMs) {
    await sleep(RETRY_MS);
    code = await listenFault(host, port);
  }
  if (code === undefined) return;
  const reason = code === 'EADDRINUSE' ? 'another program listens there' : `it cannot be listened on (${code})`;
  throw new LabError(
    'LAB_PORT_IN_USE',
    `${owner} needs ${listen}, but ${reason}. See who with \`ss -ltnp | grep :${port}\` and end it, or give the lab other addresses: TIDEMARK_LAB_SUBNETS=101,102`,
  );
}

/** undefined: it can be listened on. */
async function listenFault(host: string, port: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(undefined);
      });
    });
  });
}
