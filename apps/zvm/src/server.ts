import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { ConsoleLogger, type LogLevel } from '@nestjs/common';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Server } from 'node:tls';
import { limitConnections, LISTENER_TIMEOUTS } from '@tidemark/nest';
import { AppModule } from './app.module.js';
import { RequestAudit } from './audit/request-audit.js';
import type { ZvmConfig } from './config.js';
import { harden } from './http/hardening.js';
import { bodyValidation, parseBodies } from './http/rest.js';
import { SESSION_HEADER } from './session/session.guard.js';
import { RestCertificate, type ServedCertificate } from './trust/rest-certificate.js';
import { SiteTrust } from './trust/site-trust.js';
import { ZVM_VERSION } from './version.js';

const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** For a request to arrive whole: who sends byte by byte does not keep a socket for ever. */
const REQUEST_MS_MAX = 60_000;
/** Of which a proxy, or a network behind one address, has a quarter. */
const CONNECTIONS = { connectionsMax: 1000, connectionsPerNetworkMax: 256, handshakes: { handshakesMax: 256, handshakesPerAddressMax: 64 } };
/** Without a request. */
const IDLE_MS_MAX = 72_000;
const URL_PART_LENGTH_MAX = 1000;

export interface Zvm {
  readonly url: string;
  readonly app: NestFastifyApplication;
  close(): Promise<void>;
}

/** A ZVM that listens; database, broker and hypervisor manager may come later. */
export async function startZvm(config: ZvmConfig, { logLevels = ['log', 'warn', 'error', 'fatal'] as LogLevel[] } = {}): Promise<Zvm> {
  const trust = await SiteTrust.open(config, Date.now);
  const certificate = await RestCertificate.open(config, trust, Date.now);
  const adapter = new FastifyAdapter({
    https: { ...tlsOf(certificate.current()), ...LISTENER_TIMEOUTS }, bodyLimit: BODY_BYTES_MAX, requestTimeout: REQUEST_MS_MAX, keepAliveTimeout: IDLE_MS_MAX, clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => void reply.status(error.statusCode ?? 400).send({ Message: error.message }),
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, maxParamLength: URL_PART_LENGTH_MAX },
  });
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.of(config, { trust, certificate }), adapter, {
    bodyParser: false, logger: new ConsoleLogger({ json: true, colors: false, logLevels }),
  });
  const fastify = app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
  app.get(RequestAudit).attach(fastify);
  await harden(fastify, config);
  parseBodies(fastify);
  app.setGlobalPrefix('v1');
  app.useGlobalPipes(bodyValidation());
  serveOpenApi(app, fastify);
  // Connections that are open go on with the certificate that they began with.
  certificate.onChange((served) => (fastify.server as unknown as Server).setSecureContext(tlsOf(served)));
  limitConnections(fastify.server as unknown as HttpsServer, CONNECTIONS);
  await app.listen(config.restPort, config.restHost);
  return { url: await app.getUrl(), app, close: () => app.close() };
}

/** Browsers and scripts of operators come here: TLS 1.2 as well. */
const tlsOf = ({ key, cert }: ServedCertificate) => ({ key, cert, minVersion: 'TLSv1.2' as const });

/** Bytes that are not HTTP never reach a route; whoever sent them still gets a Message. */
function answerBrokenRequest(error: Error, socket: Socket): void {
  if (!socket.writable) return void socket.destroy();
  const body = JSON.stringify({ Message: `this is not an HTTP request: ${error.message}` });
  socket.end(`HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

function serveOpenApi(app: NestFastifyApplication, fastify: FastifyInstance): void {
  const description = new DocumentBuilder()
    .setTitle('Tidemark ZVM').setVersion(ZVM_VERSION)
    .setDescription('Log in with POST /v1/session/add (HTTP Basic) and send its x-zerto-session header with every call. Paths match in any letter case.')
    .addApiKey({ type: 'apiKey', in: 'header', name: SESSION_HEADER }, 'session').addSecurityRequirements('session').addBasicAuth()
    .build();
  let text: string | undefined;
  fastify.get('/v1/openapi.json', async (_request, reply) => {
    text ??= JSON.stringify(SwaggerModule.createDocument(app, description));
    return await reply.header('content-type', 'application/json; charset=utf-8').send(text);
  });
}
