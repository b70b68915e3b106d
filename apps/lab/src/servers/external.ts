import { connect } from 'node:net';
import pg from 'pg';
import { LabError } from '../lab-error.js';
import { PORTS, type SiteLayout } from '../layout.js';
import { natsConfigurationPath } from './nats.js';

/** A NATS server that is not ours, started with the configuration that `zvm init` wrote: it must answer at its address, and as websocket where paired sites look for this one. */
export async function assertExternalNats(site: SiteLayout, url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  await assertListens({ host: hostname, port: Number(port || PORTS.nats) }, `TIDEMARK_${site.name.toUpperCase()}_NATS_URL=${url}`);
  await assertListens({ host: site.managerAddress, port: PORTS.natsPeer }, `the websocket listener that paired sites use (its configuration: ${natsConfigurationPath(site)})`);
}

export async function assertExternalDatabase(site: SiteLayout, url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000 });
  client.on('error', () => undefined); // A connection that breaks rejects the query too.
  try {
    await client.connect();
    await client.query('SELECT 1');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new LabError('LAB_REFUSED', `the database that TIDEMARK_${site.name.toUpperCase()}_DATABASE_URL names does not answer: ${reason}`, { cause });
  } finally {
    await client.end().catch(() => undefined);
  }
}

function assertListens(to: { readonly host: string; readonly port: number }, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...to, timeout: 3000 });
    const fail = (reason: string): void => {
      socket.destroy();
      reject(new LabError('LAB_REFUSED', `${what} does not answer at ${to.host}:${to.port}: ${reason}`));
    };
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => fail('no answer within 3 s'));
    socket.once('error', (error) => fail(error.message));
  });
}
