import { open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, replaceFile } from '@tidemark/sys/replace-file';
import type { AuditEntry } from './audit-entry.js';

/** Ended ones are then left out of the file. */
const FILE_BYTES_MAX = 256 * 1024;

interface Waiting {
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/**
 * Acts that have begun and whose entry is not safe yet, as JSON lines in the ZVM's state folder: the entry as far as it is known before the act, and later that it has
 * ended. The first is durable before the act begins. The second is not: what it loses is found by its id in the audit.
 */
export class AuditIntents {
  readonly #open = new Map<string, AuditEntry>();
  #lines: string[] = [];
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #left: Promise<readonly AuditEntry[]> | undefined;
  /** Undefined: what stands in the file is not known to be what was written; it is written anew. */
  #fileBytes: number | undefined;

  /** `onUnread`: so many lines could not be read. */
  constructor(
    private readonly path: string,
    private readonly onUnread: (count: number) => void,
  ) {}

  /** Begun by the process before and not ended, oldest first. They stay until {@link end}. */
  async left(): Promise<readonly AuditEntry[]> {
    this.#left ??= this.#read();
    this.#left.catch(() => (this.#left = undefined));
    return await this.#left;
  }

  /** Durable when it resolves. @throws errors of the file system as they are: then the act must not begin */
  async begin(intent: AuditEntry): Promise<void> {
    await this.left();
    this.#open.set(intent.id, intent);
    this.#lines.push(JSON.stringify({ begun: intent }));
    try {
      await new Promise<void>((done, failed) => {
        this.#waiting.push({ done, failed });
        this.#write();
      });
    } catch (error) {
      this.#open.delete(intent.id);
      throw error;
    }
  }

  /** Its entry is safe, or it needs none. */
  end(id: string): void {
    if (!this.#open.delete(id)) return;
    this.#lines.push(JSON.stringify({ ended: id }));
    this.#write();
  }

  /** Resolves when nothing is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  #write(): void {
    this.#writing ??= this.#writeAll().finally(() => (this.#writing = undefined));
  }

  async #writeAll(): Promise<void> {
    // Whoever else calls in this turn of the loop comes along.
    await Promise.resolve();
    while (this.#lines.length > 0) {
      const [lines, waiting] = [this.#lines, this.#waiting];
      [this.#lines, this.#waiting] = [[], []];
      try {
        if (this.#fileBytes === undefined || this.#fileBytes > FILE_BYTES_MAX) await this.#replace();
        else await this.#append(lines, waiting.length > 0);
        for (const { done } of waiting) done();
      } catch (error) {
        // After a failed write or sync nobody knows what the file holds.
        this.#fileBytes = undefined;
        for (const { failed } of waiting) failed(error);
      }
    }
  }

  async #replace(): Promise<void> {
    await makeFolder(dirname(this.path), 0o700);
    const text = [...this.#open.values()].map((intent) => `${JSON.stringify({ begun: intent })}\n`).join('');
    await replaceFile(this.path, text, 0o600);
    // Many that are open at once are no reason to write all of them each time.
    this.#fileBytes = 0;
  }

  async #append(lines: readonly string[], isDurable: boolean): Promise<void> {
    const text = lines.map((line) => `${line}\n`).join('');
    const file = await open(this.path, 'a', 0o600);
    try {
      await file.appendFile(text);
      if (isDurable) await file.datasync();
    } finally {
      await file.close();
    }
    this.#fileBytes = (this.#fileBytes ?? 0) + Buffer.byteLength(text);
  }

  /** A line that a crash has torn was never acknowledged: that act has not begun. It is told, for a disk that has changed what was written looks the same. */
  async #read(): Promise<readonly AuditEntry[]> {
    const text = await readFile(this.path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    const found = new Map<string, AuditEntry>();
    let unreadCount = 0;
    for (const line of text.split('\n')) {
      try {
        const { begun, ended } = (line === '' ? {} : JSON.parse(line)) as { readonly begun?: AuditEntry; readonly ended?: string };
        if (begun) found.set(begun.id, begun);
        if (ended !== undefined) found.delete(ended);
      } catch {
        unreadCount += 1;
      }
    }
    if (unreadCount > 0) this.onUnread(unreadCount);
    for (const [id, intent] of found) this.#open.set(id, intent);
    return [...found.values()];
  }
}
