import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AuditEntryApi, CreatedTokenApi, GeneratedPasswordApi } from '@tidemark/contracts';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type OneSite, openSite } from '../testing/one-site.js';

const ROOT = join(import.meta.dirname, '../../../..');

let one: OneSite;
let home: string;

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(ROOT, 'tools/build.mjs')], { cwd: ROOT });
  home = await mkdtemp(join(tmpdir(), 'tidemark-home-'));
  one = await openSite();
}, 60_000);
afterAll(async () => {
  await one.close();
  await rm(home, { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** The command line as a script runs it, against a real ZVM. */
function tidemark(args: readonly string[], { environment = {}, input }: { environment?: Record<string, string>; input?: string } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env['PATH'] ?? '', HOME: home, TIDEMARK_URL: one.site.zvm?.url ?? '', ...environment };
    const child = spawn(process.execPath, [join(ROOT, 'apps/cli/bin/tidemark.mjs'), '--ca', join(one.site.config.stateDir, 'trust', 'ca.pem'), ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.end(input ?? '');
  });
}

const passwordOfAdmin = async (): Promise<string> => await readFile(join(one.site.config.stateDir, 'admin-password'), 'utf8');

describe('the command line', () => {
  it('logs in once, with a password from standard input, and keeps the session where only its user can read it', async () => {
    expect(await tidemark(['whoami'])).toMatchObject({ code: 2, err: expect.stringContaining('not logged in') });
    expect(await tidemark(['login', '--password-file', '-'], { input: await passwordOfAdmin() })).toMatchObject({ code: 0, out: expect.stringContaining('Site a'), err: '' });
    const file = join(home, '.config/tidemark/sessions.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).not.toContain((await passwordOfAdmin()).trim());
    expect((await tidemark(['whoami'])).out).toMatch(/user +admin\nby +Password\nroles +Administrator/);
    expect((await tidemark(['user', 'list', '-o', 'json'])).out).toContain('"UserName": "admin"');
  });

  it('makes users and tokens; a user with a first password can only change it', async () => {
    const made = JSON.parse((await tidemark(['-o', 'json', 'user', 'add', 'olga', '--role', 'operator'])).out) as GeneratedPasswordApi;
    const environment = { TIDEMARK_USER: 'olga', TIDEMARK_PASSWORD: made.Password };
    expect(await tidemark(['vpgs'], { environment })).toMatchObject({ code: 1, err: expect.stringContaining('must be changed first') });
    expect(await tidemark(['user', 'password', '--stdin'], { environment, input: `${made.Password}\nlong enough for me\n` })).toMatchObject({ code: 0 });
    const olga = { TIDEMARK_USER: 'olga', TIDEMARK_PASSWORD: 'long enough for me' };
    expect(await tidemark(['user', 'list'], { environment: olga })).toMatchObject({ code: 1, err: expect.stringContaining('permission manageUsers') });
    const token = JSON.parse((await tidemark(['-o', 'json', 'token', 'make', 'nightly', '--scope', 'view', '--scope', 'ownAccount', '--days', '1'], { environment: olga })).out) as CreatedTokenApi;
    await writeFile(join(home, 'token'), `${token.Token}\n`);
    expect((await tidemark(['whoami', '--token-file', join(home, 'token')])).out).toMatch(/user +olga\nby +Token/);
    expect(await tidemark(['vpgs'], { environment: { TIDEMARK_TOKEN: token.Token } })).toMatchObject({ code: 0 });
    expect((await tidemark(['token', 'revoke', 'nightly'], { environment: olga })).code).toBe(0);
    expect(await tidemark(['vpgs'], { environment: { TIDEMARK_TOKEN: token.Token } })).toMatchObject({ code: 3, err: expect.stringContaining('unknown or revoked') });
    expect((await tidemark(['user', 'disable', 'olga'])).code).toBe(0);
    expect(await tidemark(['vpgs'], { environment: olga })).toMatchObject({ code: 3, err: expect.stringContaining('disabled') });
  });

  it('shows, verifies and exports the audit', async () => {
    const listed = JSON.parse((await tidemark(['-o', 'json', 'audit', '--by', 'olga', '--action', 'tokens'])).out) as AuditEntryApi[];
    expect(listed.map(({ Action }) => Action)).toEqual(['POST /tokens', 'DELETE /tokens/:token']);
    expect(await tidemark(['audit', 'verify'])).toMatchObject({ code: 0, out: expect.stringContaining('each as it was written') });
    const lines = (await tidemark(['audit', 'export'])).out.trim().split('\n').map((line) => (JSON.parse(line) as { seq: number }).seq);
    expect(lines).toEqual(lines.map((_, index) => index + 1));
    expect(lines.length).toBeGreaterThan(5);
  });

  it('logs out', async () => {
    expect((await tidemark(['logout'])).code).toBe(0);
    expect(await tidemark(['whoami'])).toMatchObject({ code: 2, err: expect.stringContaining('not logged in') });
  });
});
