import { SocketGuestAgents, VraEngine } from '@tidemark/engine-host';
import { TlsTransport } from '@tidemark/link';
import { openApplianceIdentity } from '@tidemark/trust';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { captureBytesMax, readConfig } from './config/config.js';
import { loadInParts } from './load-in-parts.js';

/** What the shell hangs on, loaded one at a time while guests are answered in between: all at once they hold the event loop for 440 ms, so for 100 at most. */
const SHELL_PARTS = ['reflect-metadata', '@nestjs/common', '@nestjs/core', '@nestjs/platform-fastify', 'class-validator', '@nestjs/swagger', '@tidemark/contracts', '@tidemark/nest'];

/** See {@link loadInParts}. */
const BETWEEN_PARTS_MS = 25;

async function loadShell(): Promise<typeof import('./shell.js')> {
  await loadInParts(SHELL_PARTS, async (part): Promise<unknown> => (await import(part)) as unknown, async () => await sleep(BETWEEN_PARTS_MS));
  return await import('./shell.js');
}

/**
 * The data plane first: guests get their disks back before NATS, Nest or the health port are looked at, or even loaded: Nest and what hangs on it
 * take 0.5 s of CPU to load, the engine 0.3 s.
 */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = pino({ base: { vraId: config.vraId } });
  const folder = join(config.stateFolder, 'trust');
  const identity = await openApplianceIdentity({
    name: { siteId: config.siteId, role: 'vra', instanceId: config.vraId }, folder, tokenFile: config.enrolmentTokenFile, log,
    redeem: async () => await (await loadShell()).redeem(config, folder),
  });
  const engine = await VraEngine.start({
    vraId: config.vraId,
    transport: new TlsTransport({ identity, onRefused: (fault) => log.warn(fault, 'a VRA connection was refused') }),
    address: config.address,
    controlPort: config.controlPort,
    dataPort: config.dataPort,
    backupPort: config.backupPort,
    nbdSocketPath: config.nbdSocketPath,
    stateFolder: config.stateFolder,
    datastoreFolders: config.datastoreFolders,
    captureBytesMax: captureBytesMax(config.memoryMiB),
    ...(config.guestAgentFolder === undefined ? {} : { guestAgents: new SocketGuestAgents(config.guestAgentFolder) }),
    log,
  });
  const { startVraShell } = await loadShell();
  await startVraShell(config, engine, identity);
  log.info({ address: config.address, nbdSocketPath: config.nbdSocketPath }, 'VRA is up');
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  // A half-started data plane must not linger: a supervisor, or `lab start`, begins again.
  setTimeout(() => process.exit(1), 100).unref();
});
