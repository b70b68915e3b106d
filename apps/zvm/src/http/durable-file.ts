import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Replaces `path` whole: temporary file, fsync, rename, fsync of the folder. The file never has a wider mode than `mode`. */
export async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
