import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { SyslogBacklog } from '@tidemark/vpg';
import { createSecureContext } from 'node:tls';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { invalid, messageOf } from '../errors.js';
import { Database } from '../persistence/database.js';
import { SiteSettingEntity } from '../persistence/entities.js';
import type { ChainedEntry } from './audit-entry.js';
import { AuditStore } from './audit.store.js';
import { syslogMessage } from './syslog-message.js';
import { deliver, type SyslogTarget } from './syslog-sender.js';

const EVERY_MS = 1000;
const BATCH = 200;
const SETTINGS = 'syslog';
const CURSOR = 'syslogCursor';

/** The last entry that was taken, and when, or when the collector was named: ms since 1970. */
interface Cursor {
  readonly seq: number;
  readonly atMs: number;
}

const nameOf = ({ protocol, host, port }: SyslogTarget): string => `${protocol}://${host}:${port}`;

export interface SyslogState {
  readonly target: SyslogTarget | null;
  /** The last entry that the collector has taken. */
  readonly deliveredSeq: number;
  readonly problem: string | null;
}

/**
 * Forwards the audit to a syslog collector, oldest first, from the first entry on. How far it came is kept in the database and moves only when a
 * batch is delivered: entries written while the collector or the ZVM was down follow.
 */
@Injectable()
export class SyslogService implements OnModuleInit, OnApplicationShutdown {
  readonly #background = new Background(SyslogService.name, EVERY_MS, () => this.#forward());
  #problem: string | null = null;
  #backlog: SyslogBacklog | null = null;

  constructor(
    private readonly store: AuditStore,
    private readonly database: Database,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.#background.start();
  }

  /** As the last look found it, each second; null: nothing is forwarded, or the database was not there yet. */
  get backlog(): SyslogBacklog | null {
    return this.#backlog;
  }

  async state(): Promise<SyslogState> {
    const target = await this.#read<SyslogTarget>(SETTINGS);
    return { target, deliveredSeq: (await this.#read<Cursor>(CURSOR))?.seq ?? 0, problem: target === null ? null : this.#problem };
  }

  /** Null ends the forwarding; another collector goes on where the one before came to. @throws ZvmError ZVM_INVALID */
  async set(target: SyslogTarget | null): Promise<void> {
    if (target?.caPem) assertCertificate(target.caPem);
    await this.database.use<unknown>((db) => (target === null ? db.delete(SiteSettingEntity, { section: SETTINGS }) : db.upsert(SiteSettingEntity, { section: SETTINGS, content: target }, ['section'])));
    // A new collector has its time too, whatever the one before did not take.
    await this.#moveTo((await this.#read<Cursor>(CURSOR))?.seq ?? 0);
    this.#problem = null;
    this.#background.poke();
  }

  async #read<T>(section: string): Promise<T | null> {
    const row = await this.database.use((db) => db.findOneBy(SiteSettingEntity, { section }));
    return row ? (row.content as T) : null;
  }

  async #forward(): Promise<void> {
    if (!this.database.isReady) return;
    const { target, deliveredSeq } = await this.state();
    if (target === null) return void (this.#backlog = null);
    try {
      let batch: ChainedEntry[] = [];
      for await (const entry of this.store.walk({}, deliveredSeq)) {
        batch.push(entry);
        if (batch.length < BATCH) continue;
        await this.#deliver(batch, target);
        batch = [];
      }
      if (batch.length > 0) await this.#deliver(batch, target);
      this.#problem = null;
    } catch (error) {
      this.#problem = messageOf(error);
      throw new Error(`audit entries cannot be forwarded to ${nameOf(target)}: ${this.#problem}`, { cause: error });
    } finally {
      this.#backlog = await this.#look(target);
    }
  }

  /** What waits, and since when none of it was taken: all of it durable, so a restart of the ZVM begins no new count. */
  async #look(target: SyslogTarget): Promise<SyslogBacklog> {
    const cursor = (await this.#read<Cursor>(CURSOR)) ?? { seq: 0, atMs: 0 };
    const { oldestAtMs, count } = await this.store.waiting(cursor.seq);
    return { target: nameOf(target), waitingCount: count, waitingSinceMs: oldestAtMs === null ? null : Math.max(oldestAtMs, cursor.atMs), problem: this.#problem };
  }

  async #deliver(batch: readonly ChainedEntry[], target: SyslogTarget): Promise<void> {
    await deliver(batch.map((entry) => syslogMessage(entry, this.config.hostName)), target);
    await this.#moveTo(batch.at(-1)?.seq ?? 0);
  }

  async #moveTo(seq: number): Promise<void> {
    const content: Cursor = { seq, atMs: this.clock.nowMs() };
    await this.database.use((db) => db.upsert(SiteSettingEntity, { section: CURSOR, content }, ['section']));
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#background.stop();
  }
}

function assertCertificate(pem: string): void {
  try {
    createSecureContext({ ca: pem });
    if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new Error('it holds no certificate');
  } catch (error) {
    throw invalid(`CaPem: ${messageOf(error)}`);
  }
}
