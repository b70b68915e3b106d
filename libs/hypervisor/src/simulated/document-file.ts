import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { replaceFile } from '@tidemark/sys/replace-file';

/** The JSON document at `path`, or undefined when none was ever written. One that does not parse throws: it is never taken for none. */
export async function loadDocument(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return JSON.parse(text);
}

/**
 * Replaces the document as a whole; durable when it resolves: temporary file, fsync, rename, fsync of the folder. After a
 * kill at any point the old or the new one is there, never a part. Callers serialise their saves.
 */
export async function saveDocument(path: string, document: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, JSON.stringify(document, null, 1), 0o600);
}
