import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { findProgram } from './programs.js';

/**
 * Two listeners: 4222 for the site's own components, the websocket on 9081 for paired sites. client_advertise names the local one, and a
 * single server tells nobody other addresses, so a peer learns nothing but 9081.
 */
const configuration = (site: SiteLayout): string => `
server_name: "site-${site.name}"
host: "${site.managerAddress}"
port: ${PORTS.nats}
client_advertise: "${site.managerAddress}:${PORTS.nats}"
max_payload: 4MB
websocket {
  host: "${site.managerAddress}"
  port: ${PORTS.natsPeer}
  no_tls: true
}
`;

export async function natsSpec(site: SiteLayout): Promise<ProcessSpec> {
  const path = join(site.runFolder, 'nats.conf');
  await writeFile(path, configuration(site), { mode: 0o600 });
  return {
    name: 'nats',
    command: findProgram('nats-server', 'nats-server'),
    args: ['-c', path],
    env: {},
    cwd: site.folder,
    logPath: join(site.logFolder, 'nats.log'),
    listens: [`${site.managerAddress}:${PORTS.nats}`, `${site.managerAddress}:${PORTS.natsPeer}`],
    endSignal: 'SIGTERM',
  };
}

/** A NATS server speaks first: its INFO line is the answer. */
export function probeNats(site: SiteLayout): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: site.managerAddress, port: PORTS.nats });
    const end = (error?: Error): void => {
      socket.destroy();
      if (error) reject(error);
      else resolve();
    };
    socket.setTimeout(1000, () => end(new Error('no INFO within a second')));
    socket.once('error', end);
    socket.once('data', (bytes: Buffer) => end(bytes.toString('latin1').startsWith('INFO ') ? undefined : new Error('this is not a NATS server')));
  });
}
