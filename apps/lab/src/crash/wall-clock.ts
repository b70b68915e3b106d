import { existsSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SiteProcesses } from '../site-processes.js';

/** Debian's `faketime` package. */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
/** The library reads the file again after this long. */
const CACHE_S = 1;

/** The wall clock of a site's ZVM and VRAs, which can be set: their monotonic clocks run on, as when an administrator sets the date. */
export class WallClock {
  readonly #file: string;
  #offsetSeconds = 0;

  constructor(folder: string, site: string) {
    this.#file = join(folder, `clock-${site}`);
  }

  static missing(): string | undefined {
    return existsSync(LIBRARY) ? undefined : 'no faketime';
  }

  /** From their next start on the site's processes go by this clock. */
  async install(processes: SiteProcesses): Promise<void> {
    await this.set(0);
    const { registry } = processes.runner;
    for (const record of await registry.list()) {
      if (record.name !== 'zvm' && !record.name.startsWith('vra')) continue;
      const clock = { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1', FAKETIME_CACHE_DURATION: String(CACHE_S), FAKETIME_DISABLE_SHM: '1' };
      await registry.put({ ...record, env: { ...record.env, ...clock } });
    }
  }

  get offsetSeconds(): number {
    return this.#offsetSeconds;
  }

  async set(offsetSeconds: number): Promise<void> {
    this.#offsetSeconds = offsetSeconds;
    await writeFile(`${this.#file}.new`, `${offsetSeconds < 0 ? '' : '+'}${offsetSeconds}\n`);
    await rename(`${this.#file}.new`, this.#file);
  }
}
