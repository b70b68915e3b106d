import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32c } from '@tidemark/link';
import { makeFolder, replaceFile, syncFolder } from '@tidemark/sys/replace-file';
import { EngineError } from './engine-error.js';

/** Last line of the file: the CRC-32C of all before it. A disk that flips a bit must not make a VRA attach another disk or forget a vote. */
const SEAL = /\ncrc32c ([0-9a-f]{8})\n$/;

const sealed = (json: string): string => `${json}\ncrc32c ${crc32c(Buffer.from(json)).toString(16).padStart(8, '0')}\n`;

/** Undefined for anything that this program did not write. */
function checked(text: string): string | undefined {
  const seal = SEAL.exec(text);
  const json = seal ? text.slice(0, seal.index) : '';
  return seal && crc32c(Buffer.from(json)).toString(16).padStart(8, '0') === seal[1] ? json : undefined;
}

/**
 * One JSON document on disk, replaced as a whole: temporary file, fsync, rename, fsync of the folder. After a crash at any point the old or
 * the new document is there, never a part. Writes and removals are serialised in call order; a failed one rejects its own caller only.
 * What each of these files holds, and what its loss means: docs/spec/vra-state.md.
 */
export class StateFile<T> {
  #last: Promise<void> = Promise.resolve();

  /** `ifRemoved`: for whoever finds the file damaged and has no copy of it: what follows when it is removed by hand. */
  constructor(
    readonly path: string,
    private readonly ifRemoved: string,
  ) {}

  /** The document, or undefined when none was ever written. A damaged one throws VRA_STATE_FILE: it is never taken for none. */
  async load(): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const json = checked(text);
    if (json === undefined) throw new EngineError('VRA_STATE_FILE', `${this.path} is damaged: the disk that it is on has changed what was written. Bring it back as it was, or, if it cannot be had, remove it: ${this.ifRemoved}`);
    return JSON.parse(json) as T;
  }

  /** Resolves when `document` is durable. It is serialised now: later changes to it are not written. */
  save(document: T): Promise<void> {
    const text = sealed(JSON.stringify(document, null, 1));
    return this.#inTurn(() => this.#replace(text));
  }

  /** Resolves when the file is durably gone, also one that a save before this call was still writing. Its folder must be there. */
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      await rm(this.path, { force: true });
      await syncFolder(dirname(this.path));
    });
  }

  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #replace(text: string): Promise<void> {
    await makeFolder(dirname(this.path), 0o700);
    await replaceFile(this.path, text, 0o600);
  }
}
