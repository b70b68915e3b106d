import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from './lab-error.js';
import { isRunning, procStat } from './process/proc.js';

const ownerSchema = z.object({ pid: z.number(), startTime: z.number(), what: z.string() });

const held = new Set<string>();

/**
 * Runs `work` while no other command changes this lab. A lock whose owner died is taken over. This process may come in again: `down`
 * after Ctrl-C does not wait for its own `up`.
 */
export async function withLabLock<T>(folder: string, what: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, 'lock.json');
  if (held.has(path)) return await work();
  await takeLock(path, what);
  held.add(path);
  try {
    return await work();
  } finally {
    held.delete(path);
    await rm(path, { force: true });
  }
}

async function takeLock(path: string, what: string): Promise<void> {
  const owner = JSON.stringify({ pid: process.pid, startTime: procStat(process.pid)?.startTime ?? 0, what });
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      await writeFile(path, owner, { flag: 'wx', mode: 0o600 });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const other = ownerSchema.safeParse(await readJson(path));
    if (other.success && isRunning(other.data)) {
      throw new LabError('LAB_BUSY', `\`lab ${other.data.what}\` (process ${other.data.pid}) is changing this lab; wait until it has ended`);
    }
    await rm(path, { force: true });
  }
  throw new LabError('LAB_BUSY', 'another command is changing this lab');
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}
