import 'reflect-metadata';
import { ConsoleLogger, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { ComponentIdentity } from '@tidemark/trust';
import type { Server } from 'node:tls';
import type { Appliance } from './appliance.js';
import { healthTls } from './health-tls.js';

/** Anybody may ask 4006: little is read of him, and he does not stay. */
const HEALTH_LIMITS = { bodyLimit: 1024, requestTimeout: 5000, connectionTimeout: 10_000, keepAliveTimeout: 10_000 };
const HEALTH_CONNECTIONS_MAX = 64;

/** The Nest part of an appliance: control over NATS, health and metrics. Resolves when 4006 answers. */
export async function startShell(module: DynamicModule, { address, healthPort }: Appliance, identity: ComponentIdentity): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({ ...HEALTH_LIMITS, https: healthTls(identity) });
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, { logger: new ConsoleLogger({ logLevels: ['error', 'warn'], json: true }) });
  app.enableShutdownHooks();
  (app.getHttpServer() as unknown as Server).maxConnections = HEALTH_CONNECTIONS_MAX;
  await app.listen(healthPort, address);
  identity.onChange(() => (app.getHttpServer() as unknown as Server).setSecureContext(healthTls(identity)));
  return app;
}
