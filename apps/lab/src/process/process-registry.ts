import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isRunning } from './proc.js';

const recordSchema = z.object({
  name: z.string(),
  command: z.string(),
  args: z.array(z.string()),
  env: z.record(z.string(), z.string()),
  cwd: z.string(),
  logPath: z.string(),
  /** `host:port` that it listens on: looked at before it is started. */
  listens: z.array(z.string()),
  uid: z.number().optional(),
  gid: z.number().optional(),
  /** The signal that ends it cleanly and fast. */
  endSignal: z.enum(['SIGTERM', 'SIGINT']),
  pid: z.number(),
  startTime: z.number(),
});

/** How a process of a site is started, and which one runs now (or ran last). */
export type ProcessRecord = z.infer<typeof recordSchema>;
export type ProcessSpec = Omit<ProcessRecord, 'pid' | 'startTime'>;

/** What needs another comes after it; VRAs and VBAs last. */
const START_ORDER = ['nats', 'postgres', 'hypervisor', 'zvm'];
const rank = (name: string): number => (START_ORDER.includes(name) ? START_ORDER.indexOf(name) : START_ORDER.length);

export const inStartOrder = (records: readonly ProcessRecord[]): ProcessRecord[] =>
  [...records].sort((left, right) => rank(left.name) - rank(right.name) || left.name.localeCompare(right.name));

export const isAlive = (record: ProcessRecord): boolean => isRunning(record);

/** One file per process below the site's folder, so that the lab's commands and the hypervisor manager see the same ones. */
export class ProcessRegistry {
  constructor(readonly folder: string) {}

  /** In name order. A file that cannot be read is an error: a process that nobody knows would never be ended. */
  async list(): Promise<ProcessRecord[]> {
    if (!existsSync(this.folder)) return [];
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.json')).sort();
    return await Promise.all(names.map((name) => this.#read(join(this.folder, name))));
  }

  async get(name: string): Promise<ProcessRecord | undefined> {
    return existsSync(this.#path(name)) ? await this.#read(this.#path(name)) : undefined;
  }

  /** Owner only: environments hold database passwords. */
  async put(record: ProcessRecord): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const temporary = `${this.#path(record.name)}.${process.pid}.new`;
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(record, null, 1));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.#path(record.name));
  }

  async remove(name: string): Promise<void> {
    await rm(this.#path(name), { force: true });
  }

  #path(name: string): string {
    return join(this.folder, `${name}.json`);
  }

  async #read(path: string): Promise<ProcessRecord> {
    return recordSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  }
}
