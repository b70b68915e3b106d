import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { mustRun, runTool } from './tools.js';

const KiB = 1024;
const BLOCK_BYTES = 4096;

/** SHA-256 by path below the folder. */
export type Manifest = ReadonlyMap<string, string>;

export async function manifestOf(folder: string): Promise<Manifest> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  const manifest = new Map<string, string>();
  for (const file of files) manifest.set(relative(folder, file), createHash('sha256').update(await readFile(file)).digest('hex'));
  return manifest;
}

/** What differs, in words; empty: the same files with the same bytes. */
export function compareManifests(expected: Manifest, found: Manifest): string[] {
  const lost = [...expected].filter(([path, digest]) => found.get(path) !== digest);
  const extra = [...found.keys()].filter((path) => !expected.has(path));
  return [
    ...lost.map(([path]) => (found.has(path) ? `${path} has other bytes` : `${path} is missing`)),
    ...extra.map((path) => `${path} was never there`),
  ];
}

/** A small web server's files: pages, logs, pictures. @returns their total size in bytes. */
export async function makeFiles(folder: string): Promise<number> {
  const wanted: [string, Buffer][] = [
    ['www/index.html', text('<html><body><h1>It works</h1></body></html>\n', 4 * KiB)],
    ['etc/app.conf', text('listen = 0.0.0.0:443\nworkers = 8\n', 1 * KiB)],
    ...numbered(24, (number): [string, Buffer] => [`www/pictures/img-${number}.jpg`, randomBytes(400 * KiB)]),
    ...numbered(16, (number): [string, Buffer] => [`var/log/access-${number}.log`, text(`10.0.0.${number} GET /pictures/img-${number}.jpg 200\n`, 512 * KiB)]),
    ...numbered(40, (number): [string, Buffer] => [`var/spool/mail-${number}`, randomBytes(3 * KiB)]),
  ];
  return await writeAll(folder, wanted);
}

/** Files that arrive while the VM is protected. */
export async function makeMoreFiles(folder: string): Promise<number> {
  const wanted = numbered(12, (number): [string, Buffer] => [`orders/order-${number}.json`, Buffer.concat([text(`{"order": ${number}}\n`, 8 * KiB), randomBytes(56 * KiB)])]);
  return await writeAll(folder, wanted);
}

const numbered = <T>(count: number, make: (number: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index + 1));
const text = (line: string, bytes: number): Buffer => Buffer.alloc(bytes, line);

async function writeAll(folder: string, files: readonly (readonly [string, Buffer])[]): Promise<number> {
  for (const [path, bytes] of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return files.reduce((sum, [, bytes]) => sum + bytes.byteLength, 0);
}

/** An ext4 image of `sizeBytes` that holds the folder's files; no mount, no root. */
export async function makeExt4(image: string, folder: string, sizeBytes: number): Promise<void> {
  await rm(image, { force: true });
  await mustRun('mkfs.ext4', ['-q', '-F', '-b', String(BLOCK_BYTES), '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-d', folder, image, `${sizeBytes / KiB}k`]);
}

/** Adds the folder's files to the image as a mounted file system would, one after the other. */
export async function addToExt4(image: string, folder: string): Promise<void> {
  const paths = [...(await manifestOf(folder)).keys()];
  const folders = [...new Set(paths.map((path) => dirname(path)))];
  const script = [...folders.map((path) => `mkdir /${path}`), ...paths.map((path) => `write ${join(folder, path)} /${path}`)];
  const scriptPath = `${image}.commands`;
  await writeFile(scriptPath, `${script.join('\n')}\n`);
  await mustRun('debugfs', ['-w', '-f', scriptPath, image]);
  await rm(scriptPath);
}

/** Offsets of the 4 KiB blocks in which two images of one size differ. */
export function changedBlocks(before: Buffer, after: Buffer): number[] {
  const offsets: number[] = [];
  for (let offset = 0; offset < after.byteLength; offset += BLOCK_BYTES) {
    if (!after.subarray(offset, offset + BLOCK_BYTES).equals(before.subarray(offset, offset + BLOCK_BYTES))) offsets.push(offset);
  }
  return offsets;
}

export interface CheckResult {
  readonly isClean: boolean;
  readonly output: string;
}

/** `e2fsck -fn`: looks at everything, changes nothing. */
export async function checkExt4(image: string): Promise<CheckResult> {
  const { exitCode, output } = await runTool('e2fsck', ['-fn', image]);
  return { isClean: exitCode === 0, output: output.trim() };
}

/** Every file of the image, read out by debugfs, as a manifest. `lost+found` is the file system's own. */
export async function readOutExt4(image: string, folder: string): Promise<Manifest> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await mustRun('debugfs', ['-R', `rdump / ${folder}`, image]);
  return await manifestOf(folder);
}
