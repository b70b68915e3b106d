import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32c } from '@tidemark/link';
import { makeFolder, replaceFile } from '@tidemark/sys/replace-file';
import { EngineError } from './engine-error.js';

/** Last line of the file: the CRC-32C of all before it. A disk that flips a bit must not make a VRA attach another disk or forget a vote. */
const SEAL = /\ncrc32c ([0-9a-f]{8})\n$/;

const sealed = (json: string): string => `${json}\ncrc32c ${crc32c(Buffer.from(json)).toString(16).padStart(8, '0')}\n`;

/** Throws VRA_STATE_FILE for anything that this program did not write. */
function checked(text: string, path: string): string {
  const seal = SEAL.exec(text);
  const json = seal ? text.slice(0, seal.index) : '';
  if (!seal || crc32c(Buffer.from(json)).toString(16).padStart(8, '0') !== seal[1]) throw new EngineError('VRA_STATE_FILE', `${path} is damaged: it must be restored or removed by hand`);
  return json;
}

/**
 * One JSON document on disk, replaced as a whole: temporary file, fsync, rename, fsync of the folder. After a crash at any point the old or
 * the new document is there, never a part. Writes are serialised in call order; a failed one rejects its own caller only.
 */
export class StateFile<T> {
  #last: Promise<void> = Promise.resolve();

  constructor(readonly path: string) {}

  /** The document, or undefined when none was ever written. A damaged one throws VRA_STATE_FILE: it is never taken for none. */
  async load(): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    return JSON.parse(checked(text, this.path)) as T;
  }

  /** Resolves when `document` is durable. It is serialised now: later changes to it are not written. */
  save(document: T): Promise<void> {
    const text = sealed(JSON.stringify(document, null, 1));
    const saved = this.#last.then(() => this.#replace(text));
    this.#last = saved.catch(() => undefined);
    return saved;
  }

  async #replace(text: string): Promise<void> {
    await makeFolder(dirname(this.path), 0o700);
    await replaceFile(this.path, text, 0o600);
  }
}
