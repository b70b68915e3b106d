import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { AuditEntryApi, CallerApi, OidcBegunApi } from '@tidemark/contracts';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startProvider, type TestProvider } from '@tidemark/nest/testing';
import { type OneSite, openSite } from '../testing/one-site.js';
import { type RestAnswer, RestClient } from '../testing/rest-client.js';
import { readOidcConfig } from './oidc-config.js';
import { OidcService } from './oidc.service.js';

const REDIRECT = 'http://127.0.0.1:5/callback';
const ROOT = join(import.meta.dirname, '../../../..');
const VPG = 'cccccccc-0000-4000-8000-000000000001';

let one: OneSite;
let folder: string;
let provider: TestProvider;

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(ROOT, 'tools/build.mjs')], { cwd: ROOT });
  folder = await mkdtemp(join(tmpdir(), 'oidc-'));
  provider = await startProvider({ clientId: 'tidemark', clientSecret: 'client-secret', redirectUri: REDIRECT });
  await writeFile(join(folder, 'secret'), 'client-secret\n');
  await writeFile(join(folder, 'oidc.json'), JSON.stringify({
    issuer: provider.issuer, clientId: 'tidemark', clientSecretFile: join(folder, 'secret'),
    roles: [{ value: 'dr-admins', role: 'administrator' }, { value: 'dr-testers', role: 'tester', vpgIds: [VPG] }],
  }));
  one = await openSite({ TIDEMARK_OIDC_FILE: join(folder, 'oidc.json') });
}, 60_000);
afterAll(async () => {
  await one.close();
  await provider.close();
  await rm(folder, { recursive: true });
});
afterEach(() => {
  provider.forge = undefined;
  provider.isKeyWrong = false;
});

const stranger = (): RestClient => new RestClient(one.site.zvm?.url ?? '', '');
const begin = (): Promise<OidcBegunApi> => stranger().ok('POST', '/session/oidc/begin', { RedirectUri: REDIRECT });
const finish = (LoginIdentifier: string, CallbackUrl: string): Promise<RestAnswer> => stranger().call('POST', '/session/oidc/finish', { body: { LoginIdentifier, CallbackUrl } });

async function logIn(person: string): Promise<RestAnswer> {
  const { LoginIdentifier, AuthorizationUrl } = await begin();
  return await finish(LoginIdentifier, await provider.browse(AuthorizationUrl, person));
}

function clientIn({ status, headers }: RestAnswer): RestClient {
  expect(status).toBe(200);
  const client = stranger();
  client.session = String(headers['x-zerto-session']);
  return client;
}

describe('log-in by OpenID Connect', () => {
  it('gives the roles that the claims say', async () => {
    const anna = clientIn(await logIn('anna'));
    expect(await anna.ok<CallerApi>('GET', '/session')).toMatchObject({ UserName: 'oidc:anna', Method: 'Oidc', Roles: [{ Role: 'Administrator', VpgIdentifiers: null }] });
    const tom = clientIn(await logIn('tom'));
    expect(await tom.refused(403, 'POST', '/vpgs/x/FailoverTest', {})).toContain('testFailover on VPG x');
    expect((await tom.call('POST', `/vpgs/${VPG}/FailoverTest`, { body: {} })).status).toBe(404);
    const [entry] = await one.admin.ok<AuditEntryApi[]>('GET', '/audit?userName=oidc:anna&action=finish');
    expect(entry).toMatchObject({ Method: 'Oidc', Subject: `${provider.issuer} anna`, Result: 0, Input: { LoginIdentifier: '***', CallbackUrl: '***' } });
    // No API token outlives what the provider says.
    expect(await anna.refused(403, 'POST', '/tokens', { Name: 'x', Scopes: ['view'], Expires: '2027-01-01T00:00:00Z' })).toContain('user of this site');
    await anna.ok('DELETE', '/session');
    expect((await anna.call('GET', '/session')).status).toBe(401);
  });

  it('a person without a role here has no access, and the audit says who it was', async () => {
    const answer = await logIn('eve');
    expect([answer.status, answer.headers['x-zerto-session'], answer.text]).toEqual([403, undefined, expect.stringContaining('oidc:eve')]);
    const [entry] = await one.admin.ok<AuditEntryApi[]>('GET', '/audit?userName=oidc:eve');
    expect(entry).toMatchObject({ Result: 1, Method: 'Unknown' });
  });

  it('a code works once, in the log-in that it was made for', async () => {
    const first = await begin();
    const callback = await provider.browse(first.AuthorizationUrl, 'anna');
    const second = await begin();
    expect(await finish(second.LoginIdentifier, callback)).toMatchObject({ status: 401, text: expect.stringContaining('state') });
    expect(await finish(first.LoginIdentifier, callback)).toMatchObject({ status: 200 });
    expect(await finish(first.LoginIdentifier, callback)).toMatchObject({ status: 401, text: expect.stringContaining('was finished') });
    // With the right state, but the code of another log-in: PKCE binds it.
    const [third, fourth] = [await begin(), await begin()];
    const [thirdUrl, fourthUrl] = [new URL(await provider.browse(third.AuthorizationUrl, 'anna')), new URL(await provider.browse(fourth.AuthorizationUrl, 'anna'))];
    fourthUrl.searchParams.set('code', thirdUrl.searchParams.get('code') ?? '');
    expect(await finish(fourth.LoginIdentifier, fourthUrl.href)).toMatchObject({ status: 401, text: expect.stringContaining('not accepted') });
    // The code itself is spent at the provider, too.
    const fifth = await begin();
    const spent = new URL(await provider.browse(fifth.AuthorizationUrl, 'anna'));
    spent.searchParams.set('code', new URL(callback).searchParams.get('code') ?? '');
    expect(await finish(fifth.LoginIdentifier, spent.href)).toMatchObject({ status: 401, text: expect.stringContaining('not accepted') });
  });

  it.each([
    ['another nonce', () => ({ nonce: 'replayed' }), /nonce/],
    ['an ID token that has expired', (now: number) => ({ exp: now - 60, iat: now - 3600 }), /exp/],
    ['an ID token for somebody else', () => ({ aud: 'another-client' }), /aud/],
    ['an ID token of another issuer', () => ({ iss: 'https://evil.example' }), /iss/],
  ])('%s is refused', async (_name, values: (now: number) => object, reason) => {
    provider.forge = (claims) => ({ ...claims, ...values(Math.floor(Date.now() / 1000)) });
    const answer = await logIn('anna');
    expect([answer.status, answer.text]).toEqual([401, expect.stringMatching(reason)]);
  });

  it('a forged signature is refused; the same ID token with the right one is not', async () => {
    provider.forge = (claims) => ({ ...claims, groups: ['dr-admins'] });
    provider.isKeyWrong = true;
    expect(await logIn('eve')).toMatchObject({ status: 401, text: expect.stringContaining('signature') });
    provider.isKeyWrong = false;
    expect(await logIn('eve')).toMatchObject({ status: 200 });
  });

  it('log-ins under way are thrown out by no stranger elsewhere who begins ever more', async () => {
    const oidc = one.site.zvm?.app.get(OidcService);
    if (!oidc) throw new Error('no ZVM');
    const { LoginIdentifier, AuthorizationUrl } = await begin();
    for (let count = 0; count < 1100; count += 1) await oidc.begin(REDIRECT, { address: '203.0.113.9', client: 'x' });
    expect(await finish(LoginIdentifier, await provider.browse(AuthorizationUrl, 'anna'))).toMatchObject({ status: 200 });
  });

  it('codes go back to the own machine or a listed page, and nowhere else', async () => {
    for (const RedirectUri of ['https://evil.example/callback', 'http://127.0.0.1:5/callback/../x', 'http://127.0.0.1:5@evil.example/callback', 'http://localhost:5/callback']) {
      expect(await stranger().refused(400, 'POST', '/session/oidc/begin', { RedirectUri })).toContain('RedirectUri');
    }
    const { LoginIdentifier } = await begin();
    expect((await finish(LoginIdentifier, 'https://evil.example/?code=x')).status).toBe(400);
    const denied = await begin();
    const state = new URL(denied.AuthorizationUrl).searchParams.get('state') ?? '';
    expect(await finish(denied.LoginIdentifier, `${REDIRECT}?error=access_denied&state=${state}`)).toMatchObject({ status: 401 });
  });
});

describe('tidemark login --sso', () => {
  it.each(['the browser comes back to this machine', 'the address is pasted'])('%s', async (how) => {
    const env = { PATH: process.env['PATH'] ?? '', HOME: folder, TIDEMARK_URL: one.site.zvm?.url ?? '' };
    const command = (...args: string[]) => spawn(process.execPath, [join(ROOT, 'apps/cli/bin/tidemark.mjs'), '--ca', join(one.site.config.stateDir, 'trust', 'ca.pem'), ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const login = command('login', '--sso');
    let err = '';
    const url = await new Promise<string>((resolve) => login.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+\/auth\?\S+/.exec(err)?.[0];
      if (found !== undefined) resolve(found);
    }));
    const back = await provider.browse(url, 'anna');
    if (how.includes('pasted')) login.stdin.write(`${back}\n`);
    else expect(await (await fetch(back)).text()).toContain('close this page');
    const [code] = await once(login, 'close') as [number];
    expect({ code, err: err.split('\n').at(-2) }).toMatchObject({ code: 0 });
    const who = command('whoami');
    let out = '';
    who.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    await once(who, 'close');
    expect(out).toMatch(/user +oidc:anna\nby +Oidc/);
  });
});

it('a file that cannot be meant is refused at the start', async () => {
  const file = join(folder, 'bad.json');
  const told = async (values: object): Promise<string> => {
    await writeFile(file, JSON.stringify({ issuer: 'https://idp.example', clientId: 'c', roles: [{ value: 'a', role: 'viewer' }], ...values }));
    try {
      return readOidcConfig(file).issuer;
    } catch (error) {
      return (error as Error).message;
    }
  };
  expect(await told({})).toBe('https://idp.example');
  expect(await told({ issuer: 'http://idp.example' })).toContain('https is needed');
  expect(await told({ roles: [{ value: 'a', role: 'root' }] })).toContain('roles.0.role');
  expect(await told({ roles: [{ value: 'a', role: 'administrator', vpgIds: [VPG] }] })).toContain('whole site');
  expect(await told({ secret: 'x' })).toContain('secret');
});
