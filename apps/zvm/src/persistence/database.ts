import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { messageOf, ZvmError } from '../errors.js';
import { ENTITIES } from './entities.js';
import { Audit1795305602000 } from './migrations/20261122-audit.js';
import { AuditOutbox1795334454000 } from './migrations/20261122-audit-outbox.js';
import { CatalogueIndex1795334401000 } from './migrations/20261122-catalogue-index.js';
import { Consents1795334452000 } from './migrations/20261122-consents.js';
import { Fences1795305604000 } from './migrations/20261122-fences.js';
import { FirstSchema1795305600000 } from './migrations/20261122-first-schema.js';
import { People1795305601000 } from './migrations/20261122-people.js';
import { Topology1795334402000 } from './migrations/20261122-topology.js';
import { Trust1795334400000 } from './migrations/20261122-trust.js';
import { Vbas1795334405000 } from './migrations/20261122-vbas.js';
import { VoidedVras1795334403000 } from './migrations/20261122-voided-vras.js';

const RETRY_MS = 1000;
/** Key of the advisory lock under which migrations run: 'tidemark' in ASCII, cut to 53 bits. */
const MIGRATION_LOCK = 0x7469_6465_6d61;

/**
 * The connection to the site's PostgreSQL. A ZVM starts without it and goes on when it is lost: callers get ZVM_DATABASE_DOWN
 * meanwhile, and whoever keeps a copy of rows in memory is told when they can be read.
 */
@Injectable()
export class Database implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(Database.name);
  #source: DataSource | undefined;
  #isStopping = false;
  #timer: NodeJS.Timeout | undefined;
  #connecting: Promise<void> = Promise.resolve();
  readonly #whenReady: (() => Promise<void>)[] = [];
  #isLoaded = false;

  constructor(@Inject(ZVM_CONFIG) private readonly config: ZvmConfig) {}

  /** After every `onModuleInit`, where the others register what they load. */
  onApplicationBootstrap(): void {
    this.#connecting = this.#connect();
  }

  get isReady(): boolean {
    return this.#source !== undefined;
  }

  /**
   * What others ask of this site is answered when every copy in memory has been read: before that a missing row means nothing, and "not known here" would be a lie that
   * they act on. Stays passed when the connection is lost later: the copies are there.
   * @throws ZvmError ZVM_DATABASE_DOWN
   */
  assertLoaded(): void {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'this site has started a moment ago and is still reading its database; try again');
  }

  /** Runs `load` once, after the schema is up to date; a failed load is tried again with the connection. */
  onReady(load: () => Promise<void>): void {
    this.#whenReady.push(load);
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN when the database does not answer; other database errors as they are. */
  async use<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    if (!this.#source) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
    return await this.#run(this.#source.manager, work);
  }

  /** As {@link use}, all or nothing. */
  async transaction<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    return await this.use((manager) => manager.transaction(work));
  }

  async #run<T>(manager: EntityManager, work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      return await work(manager);
    } catch (cause) {
      if (isConnectionLoss(cause)) {
        throw new ZvmError('ZVM_DATABASE_DOWN', `the database of this site does not answer: ${messageOf(cause)}`, { cause });
      }
      throw cause;
    }
  }

  async #connect(): Promise<void> {
    const source = new DataSource({
      type: 'postgres', url: this.config.databaseUrl, entities: ENTITIES, migrations: [FirstSchema1795305600000, People1795305601000, Audit1795305602000, Fences1795305604000, Trust1795334400000, CatalogueIndex1795334401000, Topology1795334402000, VoidedVras1795334403000, Vbas1795334405000, Consents1795334452000, AuditOutbox1795334454000],
      synchronize: false, migrationsTransactionMode: 'all', applicationName: `tidemark-zvm ${this.config.siteName}`,
      connectTimeoutMS: 3000, extra: { max: 10, statement_timeout: 15_000, keepAlive: true },
      poolErrorHandler: (error: unknown) => this.#log.warn(`database connection lost: ${messageOf(error)}`),
    });
    try {
      await source.initialize();
      await migrate(source);
      this.#source = source;
      for (const load of this.#whenReady) await load();
      this.#isLoaded = true;
      this.#log.log('database is ready');
    } catch (error) {
      this.#source = undefined;
      this.#log.warn(`database is not ready: ${messageOf(error)}`);
      if (source.isInitialized) await source.destroy().catch(() => undefined);
      if (!this.#isStopping) this.#timer = setTimeout(() => {
        this.#connecting = this.#connect();
      }, RETRY_MS);
    }
  }

  async onApplicationShutdown(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    await this.#connecting;
    const source = this.#source;
    this.#source = undefined;
    if (source?.isInitialized) await source.destroy();
  }
}

/** One ZVM migrates at a time; the second one finds nothing left to do. */
async function migrate(source: DataSource): Promise<void> {
  const holder = source.createQueryRunner();
  await holder.connect();
  try {
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await source.runMigrations();
  } finally {
    await holder.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined);
    await holder.release();
  }
}

const CONNECTION_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH']);

/** Lost or refused connection, or a server that starts or stops (SQLSTATE classes 08 and 57P). By shape: drivers wrap and re-create errors. */
export function isConnectionLoss(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const { code, errors, message } = error as { readonly code?: unknown; readonly errors?: unknown; readonly message?: unknown };
  if (typeof code === 'string' && (CONNECTION_CODES.has(code) || code.startsWith('08') || code.startsWith('57P'))) return true;
  if (Array.isArray(errors)) return errors.some(isConnectionLoss);
  return typeof message === 'string'
    && /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error|not queryable/i.test(message);
}
