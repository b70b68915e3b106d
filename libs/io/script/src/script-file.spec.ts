import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lookAtScript, type ScriptPlace } from './script-file.js';
import type { ScriptFile } from './script-runner.js';

const NOBODY = 65534;
const isRoot = process.geteuid?.() === 0;
const asRoot = isRoot ? it : it.skip;

let top: string;
let folder: string;
const look = async (command: string, over: Partial<ScriptPlace> = {}): Promise<ScriptFile> =>
  await lookAtScript(command, { folder, ownUid: process.geteuid?.() ?? 0, runsAs: isRoot ? { uid: NOBODY, gid: NOBODY } : { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }, ...over });

beforeAll(async () => {
  top = await realpath(await mkdtemp(join(tmpdir(), 'tidemark-scripts-')));
  await chmod(top, 0o755);
});
afterAll(async () => await rm(top, { recursive: true, force: true }));

let round = 0;
beforeEach(async () => {
  round += 1;
  folder = join(top, `f${round}`);
  await mkdir(join(folder, 'dns'), { recursive: true });
  await chmod(folder, 0o755);
  await chmod(join(folder, 'dns'), 0o755);
  for (const name of ['a.sh', 'dns/b c.sh']) {
    await writeFile(join(folder, name), '#!/bin/sh\n');
    await chmod(join(folder, name), 0o755);
  }
});

describe('a script', () => {
  it('is named by its path in the folder or by its whole path, and known by the digest of its content', async () => {
    const sha256 = createHash('sha256').update('#!/bin/sh\n').digest('hex');
    expect(await look('a.sh')).toEqual({ command: 'a.sh', path: join(folder, 'a.sh'), sha256 });
    expect((await look(join(folder, 'dns/b c.sh'))).path).toBe(join(folder, 'dns/b c.sh'));
    await writeFile(join(folder, 'a.sh'), '#!/bin/sh\nexit 1\n');
    expect((await look('a.sh')).sha256).not.toBe(sha256);
  });

  it.each(['', '/', '/etc/passwd', '../a.sh', 'dns/../a.sh', './a.sh', 'dns//b', 'dns/', 'a.sh\0', 'a\nb', 'x'.repeat(1025), '/bin/sh'])('%j is no name of one', async (command) => {
    await expect(look(command)).rejects.toMatchObject({ code: 'SCRIPT_NAME', message: expect.stringContaining('expected the path of a file in the scripts folder') });
  });

  it('is missed with where to put it', async () => {
    await expect(look('dns/c.sh')).rejects.toMatchObject({ code: 'SCRIPT_MISSING', message: expect.stringMatching(/no file .*dns\/c\.sh.*recovery site.*put it there/) });
    await expect(look('a.sh/c.sh')).rejects.toMatchObject({ code: 'SCRIPT_UNSAFE', message: expect.stringContaining('is no folder') });
    await expect(look('a.sh', { folder: `${folder}-gone` })).rejects.toMatchObject({ code: 'SCRIPT_FOLDER' });
  });

  it('is never behind a link, nor anything but a regular file', async () => {
    await symlink('/bin/ls', join(folder, 'link.sh'));
    await symlink('/usr/bin', join(folder, 'bin'));
    execFileSync('mkfifo', ['-m', '755', join(folder, 'pipe')]);
    await expect(look('link.sh')).rejects.toThrow(/link\.sh is a symbolic link/);
    await expect(look('bin/ls')).rejects.toThrow(/\/bin is a symbolic link/);
    await expect(look('dns')).rejects.toThrow(/no regular file/);
    await expect(look('pipe')).rejects.toThrow(/no regular file/);
  });

  it.each([['a.sh', 0o775], ['a.sh', 0o757], ['dns', 0o775], ['.', 0o777], ['.', 0o1777]])('is refused when others can change %s (mode %s)', async (name, mode) => {
    await chmod(join(folder, name), mode);
    await expect(look(name === 'dns' ? 'dns/b c.sh' : 'a.sh')).rejects.toMatchObject({ code: 'SCRIPT_UNSAFE', message: expect.stringMatching(/others than its owner can write .*: chmod go-w /) });
  });

  it('is refused when others can move the folder that it lies in', async () => {
    const shared = join(top, `shared${round}`);
    await mkdir(join(shared, 'scripts'), { recursive: true });
    await writeFile(join(shared, 'scripts', 'a.sh'), '#!/bin/sh\n', { mode: 0o755 });
    await chmod(shared, 0o777);
    await expect(look('a.sh', { folder: join(shared, 'scripts') })).rejects.toThrow(/others than its owner can write .*shared/);
    await chmod(shared, 0o1777);
    expect((await look('a.sh', { folder: join(shared, 'scripts') })).command).toBe('a.sh');
  });

  asRoot.each(['a.sh', 'dns', '.'])('is refused when %s belongs to somebody else', async (name) => {
    await chown(join(folder, name), 1234, 0);
    await expect(look(name === 'dns' ? 'dns/b c.sh' : 'a.sh')).rejects.toMatchObject({ code: 'SCRIPT_UNSAFE', message: expect.stringMatching(/belongs to user 1234.*chown root/) });
    expect((await look(name === 'dns' ? 'dns/b c.sh' : 'a.sh', { ownUid: 1234 })).sha256).toHaveLength(64);
  });

  asRoot.each([['a.sh', 0o700, /may not read and execute .*a\.sh/], ['a.sh', 0o711, /may not read and execute/], ['.', 0o700, /may not search .*chmod 755/]])('is refused when its user cannot reach %s (mode %s)', async (name, mode, message) => {
    await chmod(join(folder, name), mode);
    await expect(look('a.sh')).rejects.toMatchObject({ code: 'SCRIPT_ACCESS', message: expect.stringMatching(message) });
  });

  it.each([['', 0o755, /does not say what runs it/], ['rm -rf /\n', 0o755, /does not say what runs it/], ['#! sh', 0o755, /interpreter/], ['#!/bin/sh\n', 0o644, /execut/]])('%j with mode %s is refused', async (content, mode, message) => {
    await writeFile(join(folder, 'x'), content);
    await chmod(join(folder, 'x'), mode);
    await expect(look('x')).rejects.toThrow(message);
  });
});
