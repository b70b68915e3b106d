import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32c } from '@tidemark/link';
import { makeFolder, replaceFile, syncFolder } from '@tidemark/sys/replace-file';
import { EngineError } from './engine-error.js';

/** Last line of the file: the CRC-32C of all before it. A disk that flips a bit must not make a VRA attach another disk or forget a vote. */
const SEAL = /\ncrc32c ([0-9a-f]{8})\n$/;
/** A later format says its version in front; what stands above it is none of ours. */
const OTHER_SEAL = /\nversion (\d{1,5}) crc32c ([0-9a-f]{8})\n$/;

const digitsOf = (text: string): string => crc32c(Buffer.from(text)).toString(16).padStart(8, '0');
const sealed = (json: string): string => `${json}\ncrc32c ${digitsOf(json)}\n`;

/** Undefined for anything that this program did not write. */
function checked(text: string): string | undefined {
  const seal = SEAL.exec(text);
  const json = seal ? text.slice(0, seal.index) : '';
  return seal && digitsOf(json) === seal[1] ? json : undefined;
}

/** Of a document that is whole and that another version of the program wrote. */
function otherVersionOf(text: string): string | undefined {
  const seal = OTHER_SEAL.exec(text);
  return seal && digitsOf(text.slice(0, seal.index)) === seal[2] ? seal[1] : undefined;
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

  /** The document, or undefined when none was ever written. A damaged one throws VRA_STATE_FILE, one of another version VRA_STATE_VERSION: neither is taken for none. */
  async load(): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const other = otherVersionOf(text);
    if (other !== undefined) throw new EngineError('VRA_STATE_VERSION', `${this.path} has format version ${other}, this program reads version 1 only. Nothing was changed: start the version of Tidemark that wrote it`);
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
