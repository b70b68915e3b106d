import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run, type ToolResult } from '../interop/tools.js';

/** A second implementation, in another language, from the specification alone: what both agree on is what the pages say. */
export const READER = join(import.meta.dirname, '../../../../tools/reader/tidemark_journal.py');

/** As the specification says: the specs here share no constant with the product. */
export const SEGMENT_HEADER_BYTES = 1024;

/** `reader('verify', folder)`: the independent reader's exit code and words. */
export const reader = async (...args: string[]): Promise<ToolResult> => await run('python3', [READER, ...args]);

/** Paths, oldest first. */
export async function segmentsOf(journal: string): Promise<string[]> {
  return (await readdir(journal)).filter((name) => name.endsWith('.segment')).sort().map((name) => join(journal, name));
}

export async function lastSegment(journal: string): Promise<string> {
  const path = (await segmentsOf(journal)).at(-1);
  if (path === undefined) throw new Error(`no segment in ${journal}`);
  return path;
}

/** The segments of `journal` alone, in the new folder `copy`; returns it. */
export async function copyJournal(journal: string, copy: string): Promise<string> {
  await mkdir(copy);
  for (const path of await segmentsOf(journal)) await copyFile(path, path.replace(journal, copy));
  return copy;
}
