import { afterAll, beforeAll, expect, it, jest } from '@jest/globals';
import type { CreatedTokenApi, GeneratedPasswordApi } from '@tidemark/contracts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startZvm } from '../server.js';
import { type OneSite, openSite } from '../testing/one-site.js';
import { RestClient } from '../testing/rest-client.js';

let one: OneSite;
let logged = '';

beforeAll(async () => {
  one = await openSite();
  await one.site.stopZvm();
  for (const stream of [process.stdout, process.stderr]) {
    jest.spyOn(stream, 'write').mockImplementation((chunk: string | Uint8Array) => {
      logged += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
      return true;
    });
  }
  one.site.zvm = await startZvm(one.site.config, { logLevels: ['verbose', 'debug', 'log', 'warn', 'error', 'fatal'] });
  one = { ...one, admin: await one.site.client() };
}, 60_000);
afterAll(async () => {
  jest.restoreAllMocks();
  await one.close();
});

it('passwords, sessions, API tokens and pairing tokens are in no log line and no audit entry, also where the calls fail', async () => {
  const firstPassword = (await readFile(join(one.site.config.stateDir, 'admin-password'), 'utf8')).trim();
  const made = await one.admin.ok<GeneratedPasswordApi>('POST', '/users', { UserName: 'logged', Roles: [{ Role: 'Viewer' }] });
  const user = new RestClient(one.site.zvm?.url ?? '', made.Password);
  await user.logIn('logged');
  const newPassword = 'words that nobody logs';
  await user.call('POST', '/session/password', { body: { OldPassword: 'an old one, mistyped', NewPassword: newPassword } });
  await user.ok('POST', '/session/password', { OldPassword: made.Password, NewPassword: newPassword });
  const token = await user.ok<CreatedTokenApi>('POST', '/tokens', { Name: 'job', Scopes: ['view'], Expires: new Date(Date.now() + 3_600_000).toISOString() });
  await user.call('GET', '/users', { headers: { authorization: `Bearer ${token.Token}`, 'x-zerto-session': '' } });
  await user.logIn('logged', 'a wrong guess');
  const pairing = await one.admin.ok<{ Token: string }>('POST', '/peersites/generatetoken', {});
  await one.admin.call('POST', '/peersites', { body: { HostName: '127.0.0.1', Port: 1, Token: pairing.Token } });
  await one.admin.call('POST', '/peersites', { body: { HostName: '127.0.0.1', Port: 1, Token: `${pairing.Token}x` } });
  // A broken body is quoted by V8, and answers are kept by the audit.
  expect((await user.call('POST', '/session/password', { text: '{"OldPassword": hunter22hunter22}' })).text).not.toContain('hunter');
  const secrets = {
    firstPassword, made: made.Password, newPassword, mistyped: 'an old one, mistyped', guess: 'a wrong guess', token: token.Token, pairing: pairing.Token, pairingBody: pairing.Token.split('.').at(-1),
    session: one.admin.session, userSession: user.session, basic: Buffer.from(`admin:${firstPassword}`).toString('base64'),
  };
  expect(logged).toContain('database is ready');
  const audit = (await one.admin.call('GET', '/audit/export')).text;
  expect(audit).toContain('generatetoken');
  const shown = Object.entries(secrets).filter(([, secret]) => secret === undefined || secret.length < 8 || logged.includes(secret) || audit.includes(secret));
  expect(shown.map(([name]) => name)).toEqual([]);
});
