import { Logger } from '@nestjs/common';
import { replaceFile } from '@tidemark/sys/replace-file';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../errors.js';

/** As the audit shows them: SHA-256 of certificates. */
export type Shown = object | null;

/**
 * `audit-certificates.json` in the state folder: for each of the site's own certificates, and its CA, what the last entry about it has said. What lies in the trust folder and is not
 * this was made when nobody could tell the audit: by `zvm init`, by a start before it had an audit, or just before a kill. It is noted behind the entry, so a kill in between
 * brings one entry too many, and no one too few.
 */
export class ToldCertificates {
  readonly #path: string;
  readonly #log = new Logger('trust');
  #told: Promise<Map<string, Shown>> | undefined;

  constructor(stateDir: string) {
    this.#path = join(stateDir, 'audit-certificates.json');
  }

  /** Null: of nothing. */
  async of(subject: string): Promise<Shown> {
    return (await this.#all()).get(subject) ?? null;
  }

  /** Its entry is safe. */
  async note(subject: string, shown: Shown): Promise<void> {
    const told = await this.#all();
    told.set(subject, shown);
    // This process knows it; the next one tells it again.
    await replaceFile(this.#path, `${JSON.stringify(Object.fromEntries(told))}\n`, 0o600).catch((error: unknown) => this.#log.warn(`cannot note which certificates the audit knows: ${messageOf(error)}`));
  }

  async #all(): Promise<Map<string, Shown>> {
    this.#told ??= this.#read();
    return await this.#told;
  }

  async #read(): Promise<Map<string, Shown>> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#path, 'utf8'));
      if (typeof value !== 'object' || value === null) throw new SyntaxError('it holds no object');
      return new Map(Object.entries(value as Record<string, Shown>));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#log.warn(`${this.#path} cannot be read (${messageOf(error)}): the certificates of this site have their entries in the audit again`);
      return new Map();
    }
  }
}
