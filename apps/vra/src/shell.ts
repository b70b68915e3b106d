import 'reflect-metadata';
import { ConsoleLogger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { VraEngine } from '@tidemark/engine-host';
import type { ComponentIdentity } from '@tidemark/trust';
import type { Server } from 'node:tls';
import type { VraConfig } from './config/config.js';
import { healthTls } from './health/health-tls.js';
import { VraModule } from './vra.module.js';

/** Anybody may ask 4006: little is read of him, and he does not stay. */
const HEALTH_LIMITS = { bodyLimit: 1024, requestTimeout: 5000, connectionTimeout: 10_000, keepAliveTimeout: 10_000 };
const HEALTH_CONNECTIONS_MAX = 64;

/** Control over NATS, health and metrics, around an engine that runs. Resolves when 4006 answers. */
export async function startShell(config: VraConfig, engine: VraEngine, identity: ComponentIdentity): Promise<void> {
  const adapter = new FastifyAdapter({ ...HEALTH_LIMITS, https: healthTls(identity) });
  const app = await NestFactory.create<NestFastifyApplication>(VraModule.of(config, engine, identity), adapter);
  app.useLogger(new ConsoleLogger({ logLevels: ['error', 'warn'], json: true }));
  app.enableShutdownHooks();
  (app.getHttpServer() as unknown as Server).maxConnections = HEALTH_CONNECTIONS_MAX;
  await app.listen(config.healthPort, config.address);
  identity.onChange(() => (app.getHttpServer() as unknown as Server).setSecureContext(healthTls(identity)));
}
