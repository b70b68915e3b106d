import fastifyRateLimit from '@fastify/rate-limit';
import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { EnrolmentV1 } from '@tidemark/contracts';
import { checkMessage, ControlError, limitConnections, LISTENER_TIMEOUTS } from '@tidemark/nest';
import { networkOf } from '@tidemark/sys/network';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import type { Server as HttpsServer } from 'node:https';
import type { SecureContextOptions, Server as TlsServer } from 'node:tls';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { invalid } from '../errors.js';
import { restErrorOf } from '../http/rest-errors.js';
import { SiteTrust } from '../trust/site-trust.js';
import { Enrolment } from './enrolment.service.js';

/** A token, a certificate request and a key: 10 KB. */
const BODY_BYTES_MAX = 64 * 1024;
/** From one address (of IPv6: one /64). A site that installs VRAs on a hundred hosts at once asks once for each, and again when it is told to wait. */
const REQUESTS_PER_MINUTE = 30;
const REQUEST_MS = 10_000;
const CONNECTIONS = { connectionsMax: 256, connectionsPerNetworkMax: 64, handshakes: { handshakesMax: 128, handshakesPerAddressMax: 32 } };

/**
 * Port 9080, the site's internal API over HTTPS: what must be reached before a component has an identity. Whoever can connect can talk to it, so it reads
 * little, waits briefly, and answers few questions a minute.
 */
@Injectable()
export class InternalListener implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(InternalListener.name);
  #server: FastifyInstance | undefined;

  constructor(
    private readonly enrolment: Enrolment,
    private readonly trust: SiteTrust,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const server = fastify({
      https: { ...this.#certificate(), minVersion: 'TLSv1.3', ...LISTENER_TIMEOUTS }, bodyLimit: BODY_BYTES_MAX, requestTimeout: REQUEST_MS, connectionTimeout: 2 * REQUEST_MS, logger: false,
    }) as unknown as FastifyInstance;
    this.#server = server;
    limitConnections(server.server as unknown as HttpsServer, CONNECTIONS);
    await server.register(fastifyRateLimit, { max: REQUESTS_PER_MINUTE, timeWindow: 60_000, keyGenerator: ({ ip }) => networkOf(ip) });
    server.setErrorHandler((error: FastifyError, _request, reply) => {
      const { status, message, isInternal } = restErrorOf(error);
      if (isInternal) this.#log.error(message, error.stack);
      void reply.status(status).send({ Message: isInternal ? 'the site manager failed at this; its log says why' : message });
    });
    server.setNotFoundHandler((_request, reply) => void reply.status(404).send({ Message: 'there is nothing here' }));
    server.post('/internal/v1/enrol', async (request) => await this.enrolment.redeem(await enrolmentOf(request.body), request.ip));
    await server.listen({ host: this.config.restHost, port: this.config.internalPort });
    this.trust.zvm.onChange(() => (server.server as unknown as TlsServer).setSecureContext({ ...this.#certificate(), minVersion: 'TLSv1.3' }));
  }

  #certificate(): SecureContextOptions {
    const { keyPem, certificatePem } = this.trust.zvm.current();
    return { key: keyPem, cert: certificatePem };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#server?.close();
  }
}

async function enrolmentOf(body: unknown): Promise<EnrolmentV1> {
  try {
    return await checkMessage(EnrolmentV1, body, 'the request');
  } catch (error) {
    throw error instanceof ControlError ? invalid(error.message) : error;
  }
}
