import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CallerApi, CreatedTokenApi, GeneratedPasswordApi, SessionApi, TokenApi, UserApi } from '@tidemark/contracts';
import pg from 'pg';
import { Lockout, waitMsAfter } from './lockout.js';
import { type OneSite, openSite } from '../testing/one-site.js';
import { RestClient } from '../testing/rest-client.js';

let one: OneSite;
let database: pg.Client;

beforeAll(async () => {
  one = await openSite();
  database = new pg.Client({ connectionString: one.site.config.databaseUrl });
  await database.connect();
}, 60_000);
afterAll(async () => {
  await database.end();
  await one.close();
});

const stranger = (): RestClient => new RestClient(one.site.zvm?.url ?? '', '');
const userId = async (name: string): Promise<string> => (await one.admin.ok<UserApi[]>('GET', '/users')).find(({ UserName }) => UserName === name)?.UserIdentifier ?? '';

async function makeUser(name: string, role: string): Promise<RestClient> {
  const made = await one.admin.ok<GeneratedPasswordApi>('POST', '/users', { UserName: name, Roles: [{ Role: role }] });
  const client = new RestClient(one.site.zvm?.url ?? '', made.Password);
  await client.logIn(name);
  await client.ok('POST', '/session/password', { OldPassword: made.Password, NewPassword: `${role} of the site` });
  return client;
}

describe('lockout', () => {
  const waits = async (name: string, count: number): Promise<number[]> => {
    const statuses: number[] = [];
    for (let i = 0; i < count; i += 1) statuses.push((await stranger().logIn(name, 'wrong')).status);
    return statuses;
  };

  it.each(['root', 'locked'])('after a few failures of %s each further one waits longer, known or not', async (name) => {
    if (name === 'locked') await makeUser(name, 'Viewer');
    expect(await waits(name, 6)).toEqual([401, 401, 401, 401, 401, 429]);
    const answer = await stranger().logIn(name, 'wrong');
    expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(answer.text).toContain('try again in');
    // Kept by the database: a restart forgets nothing.
    await one.site.stopZvm();
    await database.query(`UPDATE login_failures SET locked_until = locked_until + interval '1 minute' WHERE key LIKE 'pair:%'`);
    await one.site.startZvm();
    expect((await stranger().logIn(name, 'wrong').catch(() => ({ status: 0 }))).status).not.toBe(200);
    await database.query(`UPDATE login_failures SET locked_until = now() - interval '1 second' WHERE key LIKE 'pair:%'`);
    one = { ...one, admin: await one.site.client() };
    expect(await waits(name, 2)).toEqual([401, 429]);
    const { rows } = await database.query<{ wait: string }>(`SELECT extract(epoch FROM locked_until - last_at) AS wait FROM login_failures WHERE key LIKE $1`, [`pair:${name}|%`]);
    expect(Number(rows[0]?.wait)).toBe(2);
  });

  it('the right password does not help while locked; an administrator ends it', async () => {
    expect((await stranger().logIn('locked', 'Viewer of the site')).status).toBe(429);
    await one.admin.ok('POST', `/users/${await userId('locked')}/unlock`, {});
    expect((await stranger().logIn('locked', 'Viewer of the site')).status).toBe(200);
  });

  it('many at once are not more guesses than one after the other', async () => {
    const statuses = (await Promise.all(Array.from({ length: 15 }, () => stranger().logIn('burst', 'wrong')))).map(({ status }) => status);
    expect(statuses.sort()).toEqual([...Array<number>(5).fill(401), ...Array<number>(10).fill(429)]);
  });

  it('guesses from elsewhere do not lock a user out where it has logged in before', async () => {
    const lockout = one.site.zvm?.app.get(Lockout);
    if (!lockout) throw new Error('no ZVM');
    await makeUser('owned', 'Viewer');
    const owner = { userName: 'owned', userId: await userId('owned'), address: '127.0.0.1' };
    const guess = async (host: number): Promise<boolean> => await lockout.begin({ ...owner, address: `203.0.113.${host}` }).then(() => true, () => false);
    const guesses: boolean[] = [];
    for (let host = 1; host <= 25; host += 1) guesses.push(await guess(host));
    expect(guesses.filter(Boolean)).toHaveLength(20);
    expect((await stranger().logIn('owned', 'Viewer of the site')).status).toBe(200);
    await expect(lockout.begin({ ...owner, address: '203.0.113.200' })).rejects.toThrow('too many failed log-ins');
  });

  it('a locked address leaves no more rows, whatever names it tries', async () => {
    const lockout = one.site.zvm?.app.get(Lockout);
    if (!lockout) throw new Error('no ZVM');
    const tried = async (from: number, count: number): Promise<number> => {
      let refusals = 0;
      for (let name = from; name < from + count; name += 1) await lockout.begin({ userName: `nobody-${name}`, userId: undefined, address: '198.51.100.7' }).catch(() => (refusals += 1));
      return refusals;
    };
    const rows = async (): Promise<number> => Number((await database.query<{ count: string }>(`SELECT count(*) FROM login_failures WHERE key LIKE '%nobody-%'`)).rows[0]?.count);
    expect(await tried(0, 50)).toBe(0);
    await database.query(`UPDATE login_failures SET locked_until = now() + interval '1 minute' WHERE key = 'address:198.51.100.7'`);
    expect(await rows()).toBe(100);
    expect(await tried(50, 20)).toBe(20);
    expect(await rows()).toBe(100);
  });

  it('waits double up to a quarter of an hour', () => {
    expect([4, 5, 6, 7, 14, 100].map((failures) => waitMsAfter('pair', failures))).toEqual([0, 1000, 2000, 4000, 512_000, 900_000]);
  });
});

describe('sessions', () => {
  it('end twelve hours after the log-in, however busy', async () => {
    const client = await makeUser('busy', 'Viewer');
    await database.query(`UPDATE sessions SET created_at = created_at - interval '11 hours 59 minutes', expires_at = expires_at - interval '11 hours 59 minutes' WHERE user_name = 'busy'`);
    expect((await client.call('GET', '/session')).status).toBe(200);
    await database.query(`UPDATE sessions SET expires_at = expires_at - interval '2 minutes' WHERE user_name = 'busy'`);
    expect(await client.refused(401, 'GET', '/session')).toContain('Invalid session');
  });

  it('are listed and ended: the own ones by everybody, all by an administrator', async () => {
    const [client, other] = [await makeUser('two', 'Viewer'), await makeUser('three', 'Viewer')];
    const second = new RestClient(one.site.zvm?.url ?? '', 'Viewer of the site');
    await second.logIn('two');
    const own = await client.ok<SessionApi[]>('GET', '/session/list');
    expect(own.map(({ UserName, IsOwn, Address }) => ({ UserName, IsOwn, Address })).sort((a, b) => Number(a.IsOwn) - Number(b.IsOwn))).toEqual([
      { UserName: 'two', IsOwn: false, Address: '127.0.0.1' }, { UserName: 'two', IsOwn: true, Address: '127.0.0.1' }]);
    const id = own.find(({ IsOwn }) => !IsOwn)?.SessionIdentifier ?? '';
    expect(await other.refused(404, 'DELETE', `/session/${id}`)).toContain('does not exist');
    await client.ok('DELETE', `/session/${id}`);
    expect((await second.call('GET', '/session')).status).toBe(401);
    const all = await one.admin.ok<SessionApi[]>('GET', '/session/list');
    await one.admin.ok('DELETE', `/session/${all.find(({ UserName }) => UserName === 'three')?.SessionIdentifier ?? ''}`);
    expect((await other.call('GET', '/session')).status).toBe(401);
  });

  it('what opens one is not in the database', async () => {
    const { rows } = await database.query<{ row: string }>(`SELECT s::text AS row FROM sessions s`);
    expect(rows.some(({ row }) => row.includes(one.admin.session ?? '?'))).toBe(false);
  });
});

describe('API tokens', () => {
  const inADay = (): string => new Date(Date.now() + 86_400_000).toISOString();
  const withToken = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

  it('allow their scopes and nothing else, without a session', async () => {
    const made = await one.admin.ok<CreatedTokenApi>('POST', '/tokens', { Name: 'backup job', Scopes: ['view', 'INSERTCHECKPOINT'], Expires: inADay() });
    expect(made.Token).toMatch(/^tdm_[\w-]{43}$/);
    const who = await stranger().call('GET', '/session', withToken(made.Token));
    expect([who.status, (JSON.parse(who.text) as { Message: string }).Message]).toEqual([403, expect.stringContaining('this API token of')]);
    const use = async (method: string, path: string): Promise<number> => (await stranger().call(method, path, withToken(made.Token))).status;
    expect([await use('GET', '/vpgs'), await use('POST', '/vpgs/x/checkpoints'), await use('POST', '/vpgs/x/Failover'), await use('GET', '/users'), await use('POST', '/tokens')])
      .toEqual([200, 400, 403, 403, 403]);
    const listed = await one.admin.ok<TokenApi[]>('GET', '/tokens');
    expect(listed).toMatchObject([{ Name: 'backup job', UserName: 'admin', Scopes: ['view', 'insertCheckpoint'], LastUsed: expect.any(String) }]);
    const { rows } = await database.query<{ row: string }>(`SELECT t::text AS row FROM api_tokens t`);
    expect(rows.some(({ row }) => row.includes(made.Token.slice(4)))).toBe(false);
  });

  it('end when they expire, are revoked, or their owner is disabled; and lose what the owner loses', async () => {
    const owner = await makeUser('owner', 'Operator');
    const make = (): Promise<CreatedTokenApi> => owner.ok('POST', '/tokens', { Name: 'x', Scopes: ['view', 'failover'], Expires: inADay() });
    const [expired, revoked, kept] = [await make(), await make(), await make()];
    const failover = async ({ Token }: CreatedTokenApi): Promise<number> => (await stranger().call('POST', '/vpgs/x/Failover', withToken(Token))).status;
    expect(await failover(expired)).toBe(404);
    await database.query(`UPDATE api_tokens SET expires_at = now() - interval '1 second' WHERE token_id = $1`, [expired.TokenIdentifier]);
    expect(await failover(expired)).toBe(401);
    expect(await (await makeUser('nosy', 'Operator')).refused(404, 'DELETE', `/tokens/${revoked.TokenIdentifier}`)).toContain('does not exist');
    await owner.ok('DELETE', `/tokens/${revoked.TokenIdentifier}`);
    expect(await failover(revoked)).toBe(401);
    const id = await userId('owner');
    await one.admin.ok('PUT', `/users/${id}`, { Roles: [{ Role: 'Tester' }] });
    expect(await failover(kept)).toBe(403);
    await one.admin.ok('PUT', `/users/${id}`, { IsDisabled: true });
    expect(await failover(kept)).toBe(401);
  });

  it('cannot be given what their owner has not, nor live for ever', async () => {
    const viewer = await makeUser('modest', 'Viewer');
    expect(await viewer.refused(403, 'POST', '/tokens', { Name: 'x', Scopes: ['failover'], Expires: inADay() })).toContain('permission failover');
    expect(await viewer.refused(400, 'POST', '/tokens', { Name: 'x', Scopes: ['fly'], Expires: inADay() })).toContain('not one of');
    expect(await viewer.refused(400, 'POST', '/tokens', { Name: 'x', Scopes: ['view'], Expires: '2999-01-01T00:00:00Z' })).toContain('a year');
    expect((await viewer.ok<CallerApi>('GET', '/session')).Permissions).toEqual(['view', 'ownAccount', 'makeTokens']);
  });
});
