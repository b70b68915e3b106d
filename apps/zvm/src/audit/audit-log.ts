import { Inject, Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { replaceFile } from '@tidemark/sys/replace-file';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { messageOf } from '../errors.js';
import { Database } from '../persistence/database.js';
import type { AuditEntry, ChainHead } from './audit-entry.js';
import { AuditSpool } from './audit-spool.js';
import { AuditStore } from './audit.store.js';
import { BROKEN_ACTION, type Verification, verifyChain } from './chain.js';

const RETRY_MS = 1000;

/** What whoever acts knows; the log adds id and time. */
export type AuditDraft = Omit<AuditEntry, 'id' | 'atMs'>;

export const SYSTEM: Pick<AuditDraft, 'user' | 'method' | 'tokenId' | 'sessionId' | 'subject' | 'address' | 'client' | 'permission' | 'input' | 'changes' | 'status' | 'taskId'> = {
  user: 'System', method: 'System', tokenId: null, sessionId: null, subject: null, address: null, client: null, permission: null, input: null, changes: null, status: null, taskId: null,
};

interface Waiting {
  readonly entry: AuditEntry;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The one writer of the audit. Entries are chained in the order of the calls, several in one transaction when they come at once. While the
 * database does not answer they go to a file, durably, and follow when it does: no act is answered before its entry is safe in either.
 *
 * The last link is noted in `audit-head.json` in the state folder, outside the database, a moment after it was written.
 */
@Injectable()
export class AuditLog implements OnModuleInit, OnApplicationShutdown {
  readonly #log = new Logger(AuditLog.name);
  readonly #spool: AuditSpool;
  readonly #headPath: string;
  readonly #background = new Background(AuditLog.name, RETRY_MS, () => this.#drainSpool());
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
    this.#headPath = join(config.stateDir, 'audit-head.json');
  }

  onModuleInit(): void {
    this.database.onReady(() => {
      this.#background.poke();
      return Promise.resolve();
    });
    this.#background.start();
  }

  /** Resolves when the entry cannot be lost any more. @throws when neither database nor file takes it */
  async append(draft: AuditDraft): Promise<void> {
    const entry: AuditEntry = { ...draft, id: randomUUID(), atMs: Math.floor(this.clock.nowMs()) };
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ entry, done: resolve, failed: reject });
      this.#writing ??= this.#write();
    });
  }

  /** What the site does by itself. It was done, and goes on, when this fails: the act counts for more than the account of it. */
  async appendOwn(part: Pick<AuditDraft, 'action' | 'entities'> & Partial<AuditDraft>): Promise<void> {
    await this.append({ ...SYSTEM, result: 'Done', message: null, ...part }).catch((error: unknown) => this.#log.error(`${part.action} cannot be recorded: ${messageOf(error)}`));
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
      if (spooled.length === 0) this.#log.warn(`audit entries wait in a file: ${messageOf(error)}`);
      await this.#spool.appendDurable(entries);
      return;
    }
    await this.#spool.clear();
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

  async #drainSpool(): Promise<void> {
    if (!this.database.isReady || this.#writing || (await this.#spool.entries()).length === 0) return;
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
    await this.#writing;
    await this.#noting;
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
