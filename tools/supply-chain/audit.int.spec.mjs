import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NOT_CHECKED_CODE } from './advisories.mjs';
import { root } from './npm.mjs';

const DAY_MS = 86_400_000;
const ADVISORY = { id: 1, url: 'https://github.com/advisories/GHSA-aaaa-bbbb-cccc', title: 'prototype pollution', vulnerable_versions: '>=0.0.0', cwe: [], cvss: { score: 8, vectorString: null } };
const EXPLAINED = { why: 'only the build reads it', until: new Date(Date.now() + 30 * DAY_MS).toISOString().slice(0, 10) };

/** What the registry's audit endpoint answers; undefined: it has none, as many mirrors. */
let advisories;
/** Versions by package that it was asked about. */
let asked;
let registry;
let folder;

const PACKAGE = { name: 'left-pad', version: '1.0.0' };
const PACKUMENT = { name: 'left-pad', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': PACKAGE } };
const LOCK = {
  name: 'checkout', version: '1.0.0', lockfileVersion: 3, requires: true,
  packages: { '': { name: 'checkout', version: '1.0.0', dependencies: { 'left-pad': '1.0.0' } }, 'node_modules/left-pad': { version: '1.0.0', integrity: `sha512-${Buffer.alloc(64).toString('base64')}` } },
};

/** As registry.npmjs.org: bodies are gzipped both ways. */
beforeAll(async () => {
  registry = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      const isBulk = request.method === 'POST' && request.url === '/-/npm/v1/security/advisories/bulk';
      if (request.method === 'POST' && !(isBulk && advisories)) return response.writeHead(405).end();
      if (isBulk) asked = JSON.parse(request.headers['content-encoding'] === 'gzip' ? gunzipSync(Buffer.concat(chunks)) : Buffer.concat(chunks));
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(gzipSync(JSON.stringify(isBulk ? advisories : PACKUMENT)));
    });
  });
  await new Promise((resolve) => registry.listen(0, '127.0.0.1', resolve));
  folder = mkdtempSync(join(tmpdir(), 'tidemark-audit-'));
  cpSync(join(root, 'tools/supply-chain'), join(folder, 'tools/supply-chain'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify(LOCK.packages['']));
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify(LOCK));
});
afterAll(async () => {
  registry.closeAllConnections();
  await new Promise((resolve) => registry.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

/** `npm run audit` of a checkout with these explanations, at a registry that answers so. */
async function audit({ answer, explanations = {}, options = [] }) {
  [advisories, asked] = [answer, undefined];
  const file = join(folder, 'tools/supply-chain/policy.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), advisories: explanations }));
  const env = { ...process.env, npm_config_registry: `http://127.0.0.1:${registry.address().port}/`, npm_config_cache: join(folder, 'cache') };
  return await new Promise((resolve) => {
    execFile(process.execPath, [join(folder, 'tools/supply-chain/audit.mjs'), ...options], { cwd: folder, env }, (error, stdout) => resolve({ code: error?.code ?? 0, stdout }));
  });
}

describe('npm run audit', () => {
  it('says that nothing was checked where the registry has no audit endpoint, and fails with a code of its own where it is required', async () => {
    const { code, stdout } = await audit({});
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^NOT CHECKED: the registry gave no audit report \(.*405.*\)\.\nNothing is known about vulnerabilities/)]);
    expect(stdout).not.toMatch(/high or critical/);
    expect((await audit({ options: ['--required'] })).code).toBe(NOT_CHECKED_CODE);
    expect(NOT_CHECKED_CODE).not.toBe(1);
  }, 120_000);

  it('asks about the packages of the lock file, and passes when there is nothing', async () => {
    const { code, stdout } = await audit({ answer: {}, options: ['--required'] });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^0 high or critical without an explanation, 0 explained, 0 lesser\n/)]);
    expect(asked).toEqual({ 'left-pad': ['1.0.0'] });
  }, 120_000);

  it.each(['high', 'critical'])('fails on a %s one that nobody has explained, also where it is not required, and passes on an explained one', async (severity) => {
    const answer = { 'left-pad': [{ ...ADVISORY, severity }] };
    const found = await audit({ answer });
    expect([found.code, found.stdout]).toEqual([1, expect.stringMatching(new RegExp(`^${severity.toUpperCase()} +left-pad: prototype pollution .*\\n1 high or critical without`))]);
    const explained = await audit({ answer, explanations: { 'GHSA-aaaa-bbbb-cccc': EXPLAINED } });
    expect([explained.code, explained.stdout]).toEqual([0, expect.stringMatching(/^explained {2}left-pad: .*only the build reads it.*\n0 high or critical without an explanation, 1 explained/)]);
  }, 120_000);

  it('counts a lesser one, and passes', async () => {
    const { code, stdout } = await audit({ answer: { 'left-pad': [{ ...ADVISORY, severity: 'moderate' }] } });
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^0 high or critical without an explanation, 0 explained, 1 lesser\n/)]);
  }, 120_000);
});
