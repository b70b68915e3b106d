import 'reflect-metadata';
import { ConsoleLogger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { VraEngine } from '@tidemark/engine-host';
import { pino } from 'pino';
import { captureBytesMax, readConfig } from './config/config.js';
import { VraModule } from './vra.module.js';

/** The data plane first: guests get their disks back before NATS, Nest or the health port are looked at. */
async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = pino({ base: { vraId: config.vraId } });
  const engine = await VraEngine.start({
    vraId: config.vraId,
    address: config.address,
    controlPort: config.controlPort,
    dataPort: config.dataPort,
    nbdSocketPath: config.nbdSocketPath,
    stateFolder: config.stateFolder,
    captureBytesMax: captureBytesMax(config.memoryMiB),
    log,
  });
  const app = await NestFactory.create(VraModule.of(config, engine), new FastifyAdapter());
  app.useLogger(new ConsoleLogger({ logLevels: ['error', 'warn'], json: true }));
  app.enableShutdownHooks();
  await app.listen(config.healthPort, config.address);
  log.info({ address: config.address, nbdSocketPath: config.nbdSocketPath }, 'VRA is up');
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  // A half-started data plane must not linger: a supervisor, or `lab start`, begins again.
  setTimeout(() => process.exit(1), 100).unref();
});
