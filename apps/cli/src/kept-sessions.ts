import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

type Environment = Readonly<Record<string, string | undefined>>;

/** By address of the site. */
const keptSchema = z.record(z.string(), z.object({ session: z.string() }));
type Kept = z.infer<typeof keptSchema>;

/** Undefined: there is nowhere to keep anything. */
function folderOf({ XDG_CONFIG_HOME, HOME }: Environment): string | undefined {
  if (XDG_CONFIG_HOME !== undefined && XDG_CONFIG_HOME !== '') return join(XDG_CONFIG_HOME, 'tidemark');
  return HOME === undefined || HOME === '' ? undefined : join(HOME, '.config', 'tidemark');
}

async function read(folder: string): Promise<Kept> {
  try {
    return keptSchema.catch({}).parse(JSON.parse(await readFile(join(folder, 'sessions.json'), 'utf8')));
  } catch {
    // None yet, or nothing that this version wrote: whoever needs one logs in again.
    return {};
  }
}

/** The session that `tidemark login` opened at `url`. */
export async function keptSession(url: string, environment: Environment): Promise<string | undefined> {
  const folder = folderOf(environment);
  return folder === undefined ? undefined : (await read(folder))[url]?.session;
}

/** Keeps it where only this user can read it; undefined forgets it. False: there is nowhere to. */
export async function keepSession(url: string, session: string | undefined, environment: Environment): Promise<boolean> {
  const folder = folderOf(environment);
  if (folder === undefined) return false;
  const { [url]: _, ...others } = await read(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'sessions.json');
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(`${JSON.stringify(session === undefined ? others : { ...others, [url]: { session } }, null, 2)}\n`);
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  return true;
}
