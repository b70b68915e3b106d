import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import type { SyslogBacklog } from '@tidemark/vpg';
import { createSecureContext } from 'node:tls';
import type { Caller } from '../access/caller.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { invalid, messageOf } from '../errors.js';
import { Database } from '../persistence/database.js';
import { EventService } from '../event/event.service.js';
import { pause } from '../operation/operation.service.js';
import { SiteSettingEntity } from '../persistence/entities.js';
import { AuditLog, SYSTEM } from './audit-log.js';
import type { ChainedEntry } from './audit-entry.js';
import { AuditStore } from './audit.store.js';
import { canonical } from './chain.js';
import { changesBetween } from './redaction.js';
import { syslogMessage } from './syslog-message.js';
import { deliver, type SyslogTarget } from './syslog-sender.js';

const EVERY_MS = 1000;
const BATCH = 200;
const SETTINGS = 'syslog';
const CURSOR = 'syslogCursor';
/** For what still waits for a collector that is left. */
const LEAVE_MS = 10_000;
const LEAVE_LOOK_MS = 100;

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

export interface SyslogSwitch {
  readonly before: SyslogTarget | null;
  /** Entries, up to the one about the change, that the collector before has not taken. */
  readonly notDelivered: number;
}

/**
 * Forwards the audit to a syslog collector, oldest first, from the first entry on. How far it came is kept in the database and moves only when a
 * batch is delivered: entries written while the collector or the ZVM was down follow.
 */
@Injectable()
export class SyslogService implements OnModuleInit, OnApplicationShutdown {
  readonly #background = new Background(SyslogService.name, EVERY_MS, () => this.#forward());
  #problem: string | null = null;
  /** Looks that have ended. */
  #lookCount = 0;
  /** Of the collector: what was begun for the one before moves nothing any more. */
  #targetNumber = 0;
  #hasTaken = false;
  readonly #stop = new AbortController();
  #backlog: SyslogBacklog | null = null;

  constructor(
    private readonly store: AuditStore,
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly audit: AuditLog,
    private readonly events: EventService,
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

  /**
   * Null ends the forwarding; another collector goes on where the one before came to. In this order: an entry says what is about to change and who wants it; the collector that is left
   * gets what waits, up to that entry; then it is left, whatever it has taken. So who silences it cannot keep that from it.
   * @throws ZvmError ZVM_INVALID
   */
  async set(target: SyslogTarget | null, caller: Pick<Caller, 'name' | 'method' | 'sessionId' | 'tokenId' | 'subject'>): Promise<SyslogSwitch> {
    if (target?.caPem) assertCertificate(target.caPem);
    const before = (await this.state()).target;
    const notDelivered = before === null || canonical(before) === canonical(target) ? 0 : await this.#takeLeave(before, target, caller);
    await this.#change(target);
    if (before !== null && notDelivered > 0) await this.#reportLeft(`${notDelivered} audit entries did not reach ${nameOf(before)} before it was left`, caller.name);
    return { before, notDelivered };
  }

  async #takeLeave(before: SyslogTarget, target: SyslogTarget | null, { name, method, sessionId, tokenId, subject }: Pick<Caller, 'name' | 'method' | 'sessionId' | 'tokenId' | 'subject'>): Promise<number> {
    const next = target === null ? 'nowhere' : nameOf(target);
    await this.audit.append({
      ...SYSTEM, user: name, method, sessionId, tokenId, subject, action: 'syslog.leaving', entities: [], changes: changesBetween(before, target), result: 'Done', message: `forwarded to ${nameOf(before)} up to here, then to ${next}`,
    });
    return await this.#untilTaken(await this.store.lastSeq());
  }

  /** A collector that failed before, or has taken nothing since it was named, has one more try. @returns how many it has not taken */
  async #untilTaken(seq: number): Promise<number> {
    const until = this.clock.monotonicMs() + LEAVE_MS;
    // One look may be under way that began before the last entry.
    const looks = this.#problem === null && this.#hasTaken ? Infinity : this.#lookCount + 2;
    for (;;) {
      const { deliveredSeq } = await this.state();
      if (deliveredSeq >= seq) return 0;
      if (this.clock.monotonicMs() > until || this.#lookCount >= looks || this.#stop.signal.aborted) return seq - deliveredSeq;
      this.#background.poke();
      await pause(LEAVE_LOOK_MS, this.#stop.signal);
    }
  }

  async #reportLeft(description: string, userName: string): Promise<void> {
    await this.events.record({ type: 'SetAdvancedSiteSettings', category: 'Events', entity: 'Site', description, userName, isSuccess: false, vpgIds: [] });
  }

  async #change(target: SyslogTarget | null): Promise<void> {
    await this.database.use<unknown>((db) => (target === null ? db.delete(SiteSettingEntity, { section: SETTINGS }) : db.upsert(SiteSettingEntity, { section: SETTINGS, content: target }, ['section'])));
    this.#targetNumber += 1;
    this.#hasTaken = false;
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
    const targetNumber = this.#targetNumber;
    const { target, deliveredSeq } = await this.state();
    if (target === null) return void (this.#backlog = null);
    try {
      let batch: ChainedEntry[] = [];
      for await (const entry of this.store.walk({}, deliveredSeq)) {
        batch.push(entry);
        if (batch.length < BATCH) continue;
        if (!(await this.#deliver(batch, target, targetNumber))) return;
        batch = [];
      }
      if (batch.length > 0 && !(await this.#deliver(batch, target, targetNumber))) return;
      this.#problem = null;
    } catch (error) {
      if (targetNumber !== this.#targetNumber) return;
      this.#problem = messageOf(error);
      throw new Error(`audit entries cannot be forwarded to ${nameOf(target)}: ${this.#problem}`, { cause: error });
    } finally {
      this.#lookCount += 1;
      this.#backlog = await this.#look(target);
    }
  }

  /** What waits, and since when none of it was taken: all of it durable, so a restart of the ZVM begins no new count. */
  async #look(target: SyslogTarget): Promise<SyslogBacklog> {
    const cursor = (await this.#read<Cursor>(CURSOR)) ?? { seq: 0, atMs: 0 };
    const { oldestAtMs, count } = await this.store.waiting(cursor.seq);
    return { target: nameOf(target), waitingCount: count, waitingSinceMs: oldestAtMs === null ? null : Math.max(oldestAtMs, cursor.atMs), problem: this.#problem };
  }

  /** False: it was left meanwhile, and the next one gets them too. */
  async #deliver(batch: readonly ChainedEntry[], target: SyslogTarget, targetNumber: number): Promise<boolean> {
    await deliver(batch.map((entry) => syslogMessage(entry, this.config.hostName)), target);
    if (targetNumber !== this.#targetNumber) return false;
    this.#hasTaken = true;
    await this.#moveTo(batch.at(-1)?.seq ?? 0);
    return true;
  }

  async #moveTo(seq: number): Promise<void> {
    const content: Cursor = { seq, atMs: this.clock.nowMs() };
    await this.database.use((db) => db.upsert(SiteSettingEntity, { section: CURSOR, content }, ['section']));
  }

  async onApplicationShutdown(): Promise<void> {
    this.#stop.abort();
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
