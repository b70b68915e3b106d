import 'reflect-metadata';
import { ConsoleLogger, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { ComponentIdentity } from '@tidemark/trust';
import type { Server as HttpsServer } from 'node:https';
import type { Server } from 'node:tls';
import { limitConnections, LISTENER_TIMEOUTS } from '../http/limit-connections.js';
import type { Appliance } from './appliance.js';
import { healthTls } from './health-tls.js';

/** Anybody may ask 4006: little is read of him, and he does not stay. */
const HEALTH_LIMITS = { bodyLimit: 1024, requestTimeout: 5000, connectionTimeout: 10_000, keepAliveTimeout: 10_000 };
const HEALTH_CONNECTIONS = { connectionsMax: 64, connectionsPerNetworkMax: 16, handshakes: { handshakesMax: 32, handshakesPerAddressMax: 8 } };

/** The Nest part of an appliance: control over NATS, health and metrics. Resolves when 4006 answers. */
export async function startShell(module: DynamicModule, { address, healthPort }: Appliance, identity: ComponentIdentity): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({ ...HEALTH_LIMITS, https: { ...healthTls(identity), ...LISTENER_TIMEOUTS, headersTimeout: HEALTH_LIMITS.requestTimeout } });
  const app = await NestFactory.create<NestFastifyApplication>(module, adapter, { logger: new ConsoleLogger({ logLevels: ['error', 'warn'], json: true }) });
  app.enableShutdownHooks();
  limitConnections(app.getHttpServer() as unknown as HttpsServer, HEALTH_CONNECTIONS);
  await app.listen(healthPort, address);
  identity.onChange(() => (app.getHttpServer() as unknown as Server).setSecureContext(healthTls(identity)));
  return app;
}
