import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { replaceFile } from '@tidemark/sys/replace-file';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { messageOf, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import type { EntityManager } from 'typeorm';
import type { AuditEntry, ChainHead } from './audit-entry.js';
import { AuditIntents } from './audit-intents.js';
import { AuditSpool } from './audit-spool.js';
import { AuditStore } from './audit.store.js';
import { plainText } from './redaction.js';
import { BROKEN_ACTION, type Verification, verifyChain } from './chain.js';

const RETRY_MS = 1000;

/** What whoever acts knows; the log adds id and time. */
export type AuditDraft = Omit<AuditEntry, 'id' | 'atMs'>;

export const SYSTEM: Pick<AuditDraft, 'user' | 'method' | 'tokenId' | 'sessionId' | 'subject' | 'address' | 'client' | 'permission' | 'input' | 'changes' | 'status' | 'taskId'> = {
  user: 'System', method: 'System', tokenId: null, sessionId: null, subject: null, address: null, client: null, permission: null, input: null, changes: null, status: null, taskId: null,
};

const BEGUN = 'begun; how it ended stands in the next entry of this act';
const LEFT_OPEN = 'unknown whether it was done: the site manager was stopped meanwhile';

/** What the site does by itself. */
export type OwnAct = Pick<AuditDraft, 'action' | 'entities'> & Partial<AuditDraft>;

interface Waiting {
  readonly entry: AuditEntry;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The one writer of the audit. Entries are chained in the order of the calls, several in one transaction when they come at once. While the
 * database does not answer they go to a file, durably, and follow when it does: no act is answered before its entry is safe in either.
 *
 * No kill leaves a change without an entry: what is one change of the database is staged in its transaction ({@link stage}), everything else is begun before
 * ({@link begin}), and what the process before has begun and not ended has an entry with result Unknown at the start of the next.
 *
 * The last link is noted in `audit-head.json` in the state folder, outside the database, a moment after it was written.
 */
@Injectable()
export class AuditLog implements OnModuleInit, OnApplicationShutdown {
  readonly #log = new Logger(AuditLog.name);
  readonly #spool: AuditSpool;
  readonly #intents: AuditIntents;
  readonly #intentsPath: string;
  readonly #headPath: string;
  readonly #background = new Background(AuditLog.name, RETRY_MS, () => this.#drain());
  #closing: Promise<void> | undefined;
  /** Of acts that are tried again by themselves: one entry while they fail for one reason. */
  readonly #failures = new Map<string, string>();
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Undefined until the file was read. */
  #head: ChainHead | null | undefined;
  #notedSeq = -1;
  #noting: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: AuditStore,
    private readonly database: Database,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) config: ZvmConfig,
  ) {
    const spoolPath = join(config.stateDir, 'audit-spool.jsonl');
    this.#spool = new AuditSpool(spoolPath, (count) =>
      this.#log.error(`${count} of the lines in ${spoolPath} cannot be read and are left out: torn by a crash, then no call was answered for them; if this site did not crash, the disk has damaged audit entries`));
    this.#intentsPath = join(config.stateDir, 'audit-intents.jsonl');
    this.#intents = new AuditIntents(this.#intentsPath, (count) =>
      this.#log.error(`${count} of the lines in ${this.#intentsPath} cannot be read and are left out: torn by a crash, then those acts had not begun; if this site did not crash, the disk has damaged it, and an act may lack its entry`));
    this.#headPath = join(config.stateDir, 'audit-head.json');
  }

  onModuleInit(): void {
    this.database.onReady(() => {
      this.#background.poke();
      return Promise.resolve();
    });
    this.#background.start();
  }

  /**
   * What is about to be done, as far as it is known; durable when it resolves. {@link append} with the id that it answers, or {@link withdraw}, ends it.
   * A state folder that takes nothing stops nobody as long as the database does: then an entry of its own says that it was begun.
   * @throws ZvmError ZVM_DATABASE_DOWN: the act must not be done
   */
  async begin(draft: Omit<AuditDraft, 'result'>): Promise<string> {
    const intent = this.#entryOf({ ...draft, result: 'Unknown' });
    await this.#intents.begin(intent).catch(async (cause: unknown) => {
      const why = `the audit cannot note before that it will be done (${this.#intentsPath}): ${messageOf(cause)}`;
      this.#log.error(why);
      await this.#keep({ ...intent, id: randomUUID(), message: BEGUN }).catch((error: unknown) => {
        throw new ZvmError('ZVM_DATABASE_DOWN', `nothing was done, for ${why}; nor can the database: ${messageOf(error)}`, { cause: error });
      });
    });
    return intent.id;
  }

  /** It was not done, or changed nothing: no entry. */
  withdraw(id: string): void {
    this.#intents.end(id);
  }

  /** In the transaction `db` of the very change; call {@link flush} behind it. */
  async stage(db: EntityManager, draft: AuditDraft): Promise<void> {
    await this.store.stage(db, this.#entryOf(draft));
  }

  /** As {@link stage}, of what the site does by itself. */
  async stageOwn(db: EntityManager, part: OwnAct): Promise<void> {
    await this.stage(db, { ...SYSTEM, result: 'Done', message: null, ...part });
  }

  /** Staged entries into the chain. The database has them already: when this fails, it is tried again by itself. */
  async flush(): Promise<void> {
    await this.#drain().catch((error: unknown) => this.#log.warn(`entries wait in audit_outbox: ${messageOf(error)}`));
  }

  #entryOf(draft: AuditDraft): AuditEntry {
    return { ...draft, id: randomUUID(), atMs: Math.floor(this.clock.nowMs()) };
  }

  /** Resolves when the entry cannot be lost any more. `begunId`: of the act whose entry it is. @throws when neither database nor file takes it */
  async append(draft: AuditDraft, begunId?: string): Promise<void> {
    const entry = this.#entryOf(draft);
    await this.#keep(begunId === undefined ? entry : { ...entry, id: begunId });
    if (begunId !== undefined) this.#intents.end(begunId);
  }

  async #keep(entry: AuditEntry): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ entry, done: resolve, failed: reject });
      this.#writing ??= this.#write();
    });
  }

  /** What the site does by itself. It was done, and goes on, when this fails: the act counts for more than the account of it. @returns whether the entry is safe */
  async appendOwn(part: OwnAct, begunId?: string): Promise<boolean> {
    return await this.append({ ...SYSTEM, result: 'Done', message: null, ...part }, begunId).then(() => true, (error: unknown) => {
      this.#log.error(`${part.action} cannot be recorded: ${messageOf(error)}`);
      return false;
    });
  }

  /** As {@link appendOwn}, of what is more than one change of the database: `work` answers what its entry says besides; undefined: nothing was done. @throws what `work` throws */
  async recordOwn(part: OwnAct, work: () => Promise<Partial<AuditDraft> | undefined>): Promise<boolean> {
    const begunId = await this.begin({ ...SYSTEM, message: null, ...part }).catch((error: unknown) => {
      this.#log.error(`${part.action} is done all the same: ${messageOf(error)}`);
      return undefined;
    });
    let done: Partial<AuditDraft> | undefined;
    try {
      done = await work();
    } catch (error) {
      await this.#ownFailed(part, messageOf(error), begunId);
      throw error;
    }
    this.#failures.delete(part.action);
    if (done) return await this.appendOwn({ ...part, ...done }, begunId);
    if (begunId !== undefined) this.withdraw(begunId);
    return true;
  }

  async #ownFailed(part: OwnAct, reason: string, begunId: string | undefined): Promise<void> {
    const isTold = this.#failures.get(part.action) === reason;
    this.#failures.set(part.action, reason);
    if (!isTold) await this.appendOwn({ ...part, result: 'Failed', message: plainText(reason) }, begunId);
    else if (begunId !== undefined) this.withdraw(begunId);
  }

  async #write(): Promise<void> {
    // Whoever else calls in this turn of the loop comes along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#store(batch.map(({ entry }) => entry));
        for (const { done } of batch) done();
      } catch (error) {
        this.#log.error(`audit entries cannot be kept: ${messageOf(error)}`);
        for (const { failed } of batch) failed(error);
      }
    }
    this.#writing = undefined;
  }

  async #store(entries: readonly AuditEntry[]): Promise<void> {
    const spooled = await this.#spool.entries();
    try {
      await this.#appendToChain([...spooled, ...entries]);
    } catch (error) {
      if (entries.length === 0) throw error;
      if (spooled.length === 0) this.#log.warn(`audit entries wait in a file: ${messageOf(error)}`);
      await this.#spool.appendDurable(entries);
      return;
    }
    await this.#spool.clear();
  }

  /** It stays open until its entry is in the chain. */
  async #closeLeft(): Promise<void> {
    for (const intent of await this.#intents.left()) {
      this.#log.warn(`${intent.action} of '${intent.user}' had begun when this site manager was stopped; whether it was done is not known`);
      await this.#keep({ ...intent, message: LEFT_OPEN });
      this.#intents.end(intent.id);
    }
  }

  async #appendToChain(entries: readonly AuditEntry[]): Promise<void> {
    if (!this.database.isReady) throw new Error('the database of this site does not answer');
    this.#head = this.#head === undefined ? await readHead(this.#headPath, this.#log) : this.#head;
    const { head, lost } = await this.store.append(entries, this.#head, (gone, found) => this.#brokenEntry(gone, found));
    if (lost !== null) this.#log.error(`the audit was tampered with, or the database is an older copy: entry ${lost.seq} (${lost.hash}) is not there any more`);
    this.#head = head;
    this.#note(head);
  }

  #brokenEntry(lost: ChainHead, found: ChainHead): AuditEntry {
    return {
      ...SYSTEM, id: randomUUID(), atMs: Math.floor(this.clock.nowMs()), action: BROKEN_ACTION, entities: [], result: 'Failed',
      message: `entry ${lost.seq} with hash ${lost.hash} was written and is not in the database, which ends at entry ${found.seq} with hash ${found.hash}: tampered with, or restored from an older copy`,
    };
  }

  /** Not waited for: it is evidence against who cuts the end off later, and an older note is as true as a newer one. */
  #note(head: ChainHead): void {
    this.#noting = this.#noting.then(async () => {
      if (this.#head?.seq !== head.seq || this.#notedSeq === head.seq) return;
      await mkdir(join(this.#headPath, '..'), { recursive: true, mode: 0o700 });
      await replaceFile(this.#headPath, `${JSON.stringify(head)}\n`, 0o600);
      this.#notedSeq = head.seq;
    }).catch((error: unknown) => this.#log.warn(`cannot note the end of the audit: ${messageOf(error)}`));
  }

  async #drain(): Promise<void> {
    if (!this.database.isReady) return;
    // First: where the file of intents cannot be read, this goes on.
    await this.#drainWaiting();
    this.#closing ??= this.#closeLeft();
    await this.#closing.catch((error: unknown) => {
      this.#closing = undefined;
      throw error;
    });
  }

  async #drainWaiting(): Promise<void> {
    if ((await this.#spool.entries()).length === 0 && !(await this.store.hasStaged())) return;
    await this.#writing?.catch(() => undefined);
    // Another one has begun since, and takes all there is.
    if (this.#writing) return await this.#writing;
    this.#writing = this.#store([]).finally(() => {
      this.#writing = this.#queue.length > 0 ? this.#write() : undefined;
    });
    await this.#writing;
  }

  async verify(): Promise<Verification> {
    await this.#noting;
    const anchor = this.#head === undefined || this.#head === null ? await readHead(this.#headPath, this.#log) : this.#head;
    return await verifyChain(this.store.genesis, this.store.walk(), anchor);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#background.stop();
    await this.#writing?.catch(() => undefined);
    await this.#noting;
    await this.#intents.settled();
  }
}

/** Null when there is none. A damaged one is as good as none, and says so. */
async function readHead(path: string, log: Logger): Promise<ChainHead | null> {
  try {
    const { seq, hash } = JSON.parse(await readFile(path, 'utf8')) as Partial<ChainHead>;
    if (typeof seq === 'number' && typeof hash === 'string') return { seq, hash };
    throw new SyntaxError('no sequence number and hash in it');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    if (!(error instanceof SyntaxError)) throw error;
    log.error(`${path} is damaged (${error.message}): whether the audit was cut at its end before this start cannot be told`);
    return null;
  }
}
