import { connect } from 'node:net';
import { join } from 'node:path';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { findProgram } from './programs.js';

/** What `zvm init` has written for it: listeners, certificates, and whom it believes. */
export const natsConfigurationPath = (site: SiteLayout): string => join(site.zvmFolder, 'trust', 'nats', 'nats.conf');

export function natsSpec(site: SiteLayout): ProcessSpec {
  return {
    name: 'nats',
    command: findProgram('nats-server', 'nats-server'),
    args: ['-c', natsConfigurationPath(site)],
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
