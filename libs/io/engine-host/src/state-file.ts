import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * One JSON document on disk, replaced as a whole: temporary file, fsync, rename, fsync of the folder. After a crash at any point the old or
 * the new document is there, never a part. Writes are serialised in call order; a failed one rejects its own caller only.
 */
export class StateFile<T> {
  #last: Promise<void> = Promise.resolve();

  constructor(readonly path: string) {}

  /** The document, or undefined when none was ever written. A document that does not parse throws: it is never taken for none. */
  async load(): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return JSON.parse(text) as T;
  }

  /** Resolves when `document` is durable. It is serialised now: later changes to it are not written. */
  save(document: T): Promise<void> {
    const text = JSON.stringify(document, null, 1);
    const saved = this.#last.then(() => this.#replace(text));
    this.#last = saved.catch(() => undefined);
    return saved;
  }

  async #replace(text: string): Promise<void> {
    const folder = dirname(this.path);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.new`;
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
    const directory = await open(folder, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}
