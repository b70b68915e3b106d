import { open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, syncFolder } from '@tidemark/sys/replace-file';
import { ZvmError } from '../errors.js';
import type { AuditEntry } from './audit-entry.js';

const ENTRIES_MAX = 50_000;

/** Entries that wait for the database, as JSON lines in the ZVM's state folder. An entry is safe when {@link appendDurable} returns. */
export class AuditSpool {
  #entries: AuditEntry[] | undefined;

  /** `onUnread`: so many lines could not be read. */
  constructor(
    private readonly path: string,
    private readonly onUnread: (count: number) => void,
  ) {}

  /** Oldest first. A line that a crash has torn was never acknowledged: it is left out, and told, for a disk that has changed what was written looks the same. */
  async entries(): Promise<readonly AuditEntry[]> {
    this.#entries ??= await this.#read();
    return this.#entries;
  }

  async #read(): Promise<AuditEntry[]> {
    const text = await readFile(this.path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    let unreadCount = 0;
    const entries = text.split('\n').flatMap((line): AuditEntry[] => {
      try {
        return line === '' ? [] : [JSON.parse(line) as AuditEntry];
      } catch {
        unreadCount += 1;
        return [];
      }
    });
    if (unreadCount > 0) this.onUnread(unreadCount);
    return entries;
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN when too many wait already; errors of the file system as they are */
  async appendDurable(entries: readonly AuditEntry[]): Promise<void> {
    const waiting = [...(await this.entries())];
    if (waiting.length + entries.length > ENTRIES_MAX) throw new ZvmError('ZVM_DATABASE_DOWN', `the database does not answer and ${waiting.length} audit entries wait for it: nothing more is done until it does`);
    await makeFolder(dirname(this.path), 0o700);
    const isNew = waiting.length === 0;
    const file = await open(this.path, 'a', 0o600);
    try {
      // The line feed first: what a torn write left behind ends there.
      await file.appendFile(entries.map((entry) => `\n${JSON.stringify(entry)}`).join('') + '\n');
      await file.datasync();
    } finally {
      await file.close();
    }
    if (isNew) await syncFolder(dirname(this.path));
    this.#entries = [...waiting, ...entries];
  }

  /** All of them are in the database. */
  async clear(): Promise<void> {
    if ((await this.entries()).length === 0) return;
    await rm(this.path, { force: true });
    this.#entries = [];
  }
}
