import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const FIRST_PORT = 20_000;
const END_PORT = 32_000;

/**
 * A port of 127.0.0.1 on which nobody listens. Below 32768, from where the system takes ports for outgoing connections: one of those could sit on the port
 * of a server that a test has killed, for as long as that connection lives.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST_PORT, END_PORT);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(() => true, () => false);
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
