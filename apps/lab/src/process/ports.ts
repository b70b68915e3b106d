import { createServer } from 'node:net';
import { LabError } from '../lab-error.js';

/** Throws LAB_PORT_IN_USE, with what to do, unless `host:port` can be listened on. */
export async function assertPortFree(listen: string, owner: string): Promise<void> {
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon);
  const port = Number(listen.slice(colon + 1));
  const code = await new Promise<string | undefined>((resolve) => {
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
  if (code === undefined) return;
  const reason = code === 'EADDRINUSE' ? 'another program listens there' : `it cannot be listened on (${code})`;
  throw new LabError(
    'LAB_PORT_IN_USE',
    `${owner} needs ${listen}, but ${reason}. See who with \`ss -ltnp | grep :${port}\` and end it, or give the lab other addresses: TIDEMARK_LAB_SUBNETS=101,102`,
  );
}
