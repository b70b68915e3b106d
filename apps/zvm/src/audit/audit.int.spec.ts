import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AuditEntryApi, AuditVerificationApi, CreatedTokenApi, GeneratedPasswordApi } from '@tidemark/contracts';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { TaskService } from '../task/task.service.js';
import { vpgDefinition, vpgRecord } from '../testing/factories.js';
import { type OneSite, openSite } from '../testing/one-site.js';
import { RestClient } from '../testing/rest-client.js';
import { eventually } from '../testing/test-site.js';
import { VpgStore } from '../vpg/vpg.store.js';

const VPG = 'cccccccc-0000-4000-8000-000000000001';
const DONE = 0;
const REFUSED = 1;
const UNKNOWN = 3;

let one: OneSite;

async function sql(text: string, values: unknown[] = []): Promise<unknown[]> {
  const database = new pg.Client({ connectionString: one.site.config.databaseUrl });
  await database.connect();
  try {
    return (await database.query<Record<string, unknown>>(text, values)).rows;
  } finally {
    await database.end();
  }
}

beforeAll(async () => {
  one = await openSite();
  const { siteId } = one.site.config;
  await one.site.zvm?.app.get(VpgStore).decide(VPG, () => Promise.resolve(vpgRecord({ definition: vpgDefinition({ vpgId: VPG, name: 'own', recoverySiteId: siteId, vms: [] }) })));
}, 60_000);
afterAll(() => one.close());

const entries = (query = ''): Promise<AuditEntryApi[]> => one.admin.ok('GET', `/audit${query}`);
const last = async (action: string): Promise<AuditEntryApi> => {
  const [found] = await entries(`?action=${encodeURIComponent(action)}&limit=1`);
  if (!found) throw new Error(`no entry of ${action}`);
  return found;
};
const verify = (): Promise<AuditVerificationApi> => one.admin.ok('GET', '/audit/verify');
const noted = async (): Promise<{ seq: number }> => JSON.parse(await readFile(join(one.site.config.stateDir, 'audit-head.json'), 'utf8')) as { seq: number };

describe('what is recorded', () => {
  it('log-ins, refused log-ins and log-outs: who, from where, with what', async () => {
    const client = await one.site.client();
    await client.ok('DELETE', '/session');
    expect(await last('DELETE /session')).toMatchObject({ UserName: 'admin', Method: 'Password', Address: '127.0.0.1', Permission: 'ownAccount', Result: DONE, Status: 200, SessionIdentifier: expect.any(String) });
    expect(await last('POST /session/add')).toMatchObject({ UserName: 'admin', Method: 'Password', Result: DONE });
    await client.logIn('mallory', 'guess: hunter22');
    expect(await last('POST /session/add')).toMatchObject({ UserName: 'mallory', Method: 'Unknown', Result: REFUSED, Status: 401, Message: 'wrong user name or password' });
    expect(await one.admin.call('GET', '/audit').then(({ text }) => text)).not.toContain('hunter22');
  });

  it('settings with before and after, users with their roles, and no password or token', async () => {
    await one.admin.ok('PUT', '/localsite/settings/throttling', { BandwidthThrottlingInMBs: 10 });
    expect((await last('throttling')).Changes).toContainEqual({ Path: 'bytesPerSecond', Before: 'null', After: '10000000' });
    const made = await one.admin.ok<GeneratedPasswordApi>('POST', '/users', { UserName: 'tess', Roles: [{ Role: 'Tester' }] });
    await one.admin.ok('PUT', `/users/${made.UserIdentifier}`, { Roles: [{ Role: 'Viewer' }] });
    expect(await last('PUT /users/:user')).toMatchObject({
      Entities: [`user:${made.UserIdentifier}`], Changes: [{ Path: 'roles', Before: '[{"role":"tester","vpgIds":null}]', After: '[{"role":"viewer","vpgIds":null}]' }] });
    const tess = new RestClient(one.site.zvm?.url ?? '', made.Password);
    await tess.logIn('tess');
    await tess.ok('POST', '/session/password', { OldPassword: made.Password, NewPassword: 'a new and long one' });
    const token = await tess.ok<CreatedTokenApi>('POST', '/tokens', { Name: 'job', Scopes: ['view'], Expires: new Date(Date.now() + 3_600_000).toISOString() });
    expect((await tess.call('POST', `/vpgs/${VPG}/Failover`, { body: {}, headers: { authorization: `Bearer ${token.Token}`, 'x-zerto-session': '' } })).status).toBe(403);
    expect(await last('Failover')).toMatchObject({ UserName: 'tess', Method: 'Token', TokenIdentifier: token.TokenIdentifier, Permission: 'failover', Result: REFUSED, Entities: [`vpg:${VPG}`] });
    const everything = JSON.stringify(await sql('SELECT entry FROM audit_entries'));
    for (const secret of [made.Password, 'a new and long one', token.Token]) expect(everything).not.toContain(secret);
  });

  it('the first administrator, whom the site itself makes', async () => {
    expect(await last('user.firstAdded')).toMatchObject({ UserName: 'System', Method: 'System', Changes: [{ Path: '.', Before: 'null', After: expect.stringContaining('"name":"admin"') }] });
  });

  it('drafts of VPG settings show what changed', async () => {
    const id = await one.admin.ok<string>('POST', '/vpgSettings', {});
    await one.admin.ok('PUT', `/vpgSettings/${id}/basic`, { Name: 'Mail', RpoInSeconds: 90 });
    expect(await last('PUT /vpgSettings/:sid/basic')).toMatchObject({ Entities: [`draft:${id}`], Changes: expect.arrayContaining([{ Path: 'basic.name', Before: 'null', After: '"Mail"' }]) });
  });

  it('a task: with the request that began it, and how it ended; what the site does by itself stands alone', async () => {
    const [host] = (await one.site.hypervisor.inventory()).hosts;
    const taskId = await one.admin.ok<string>('POST', '/vras', {
      HostIdentifier: host?.id, DatastoreIdentifier: host?.datastoreIds[0], NetworkIdentifier: host?.networkIds[0], MemoryInGB: 3, HostRootPassword: 'root of the host',
      UsePublicKeyInsteadOfCredentials: true, VraNetworkDataApi: { VraIPConfigurationTypeApi: 'Static', VraIPAddress: host?.address },
    });
    expect(await last('POST /vras')).toMatchObject({ TaskIdentifier: taskId, Result: DONE, UserName: 'admin', Entities: [`host:${host?.id}`], Input: { MemoryInGb: 3, HostRootPassword: '***' } });
    const ended = await eventually('the end of the task', async () => (await entries('?action=task.ended')).find(({ TaskIdentifier }) => TaskIdentifier === taskId));
    expect(ended).toMatchObject({ UserName: 'admin', Method: 'System', Action: 'task.ended InstallVra', Entities: [`host:${host?.id}`] });
    expect((await entries('?action=task.started')).filter(({ TaskIdentifier }) => TaskIdentifier === taskId)).toEqual([]);
    const own = await one.site.zvm?.app.get(TaskService).start({ type: 'FailoverRollback', initiatedBy: 'System', related: { vpgIds: [VPG] } });
    expect(await last('task.started')).toMatchObject({ UserName: 'System', Method: 'System', TaskIdentifier: own?.taskId });
  });

  it('strangers cannot fill it, and what is left out is counted', async () => {
    const before = (await verify()).Count;
    for (let i = 0; i < 60; i += 1) await new RestClient(one.site.zvm?.url ?? '', '').call('POST', '/vras', { body: {} });
    expect((await verify()).Count - before).toBeLessThanOrEqual(30);
  });
});

describe('the list', () => {
  it('is filtered and paged', async () => {
    const all = await entries('?limit=1000');
    expect(all.map(({ Sequence }) => Sequence)).toEqual(all.map((_, index) => all.length - index));
    expect((await entries(`?beforeSequence=${all.length - 1}&limit=2`)).map(({ Sequence }) => Sequence)).toEqual([all.length - 2, all.length - 3]);
    expect(new Set((await entries('?userName=TESS')).map(({ UserName }) => UserName))).toEqual(new Set(['tess']));
    expect((await entries(`?entity=vpg:${VPG.toUpperCase()}&result=refused`)).map(({ Action }) => Action)).toEqual(['POST /vpgs/:vpg/Failover']);
    expect(await entries('?startDate=2999')).toEqual([]);
    expect(await one.admin.refused(400, 'GET', '/audit?limit=x')).toContain('no number');
  });

  it('is exported as JSON lines that carry the chain', async () => {
    const { text, headers } = await one.admin.call('GET', '/audit/export');
    const lines = text.trim().split('\n').map((line) => JSON.parse(line) as { seq: number; hash: string; entry: { action: string } });
    expect(headers['content-type']).toContain('x-ndjson');
    expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_, index) => index + 1));
    expect((await verify()).LastHash).toBe(lines.at(-1)?.hash);
    expect((await one.admin.call('GET', `/audit/export?afterSequence=${lines.length - 1}`)).text.trim().split('\n')).toHaveLength(1);
  });

  it('is for who may read it', async () => {
    const tess = new RestClient(one.site.zvm?.url ?? '', 'a new and long one');
    await tess.logIn('tess');
    for (const path of ['/audit', '/audit/export', '/audit/verify']) expect(await tess.refused(403, 'GET', path)).toContain('readAudit');
  });
});

describe('the chain', () => {
  it('is one, however many calls come at once', async () => {
    const before = (await verify()).Count;
    await Promise.all(Array.from({ length: 60 }, (_, n) => one.admin.ok('POST', '/vpgSettings', { Basic: { Name: `n${n}` } })));
    expect(await verify()).toMatchObject({ IsIntact: true, Count: before + 60, LastSequence: before + 60 });
  });

  it('PostgreSQL itself refuses to change it', async () => {
    for (const statement of ['UPDATE audit_entries SET hash = hash', 'DELETE FROM audit_entries', 'TRUNCATE audit_entries', `SET session_replication_role = replica; DELETE FROM audit_entries`]) {
      await expect(sql(statement)).rejects.toThrow('append-only');
    }
  });

  describe('after a superuser has been at it', () => {
    const asSuperuser = (statement: string): Promise<unknown[]> =>
      sql(`BEGIN; ALTER TABLE audit_entries DISABLE TRIGGER audit_is_append_only; ${statement}; ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_is_append_only; COMMIT`);
    beforeAll(async () => {
      await sql('CREATE TABLE untouched AS SELECT seq, entry, hash FROM audit_entries');
    });
    const restore = (): Promise<unknown[]> => asSuperuser('TRUNCATE audit_entries; INSERT INTO audit_entries (seq, entry, hash) SELECT seq, entry, hash FROM untouched');

    it.each([
      ['a changed name', `UPDATE audit_entries SET entry = jsonb_set(entry, '{user}', '"nobody"') WHERE seq = 4`, 4, 'changed'],
      ['a changed hash', `UPDATE audit_entries SET hash = repeat('0', 64) WHERE seq = 7`, 7, 'changed'],
      ['an entry taken out', 'DELETE FROM audit_entries WHERE seq = 5', 5, 'missing'],
      ['two entries swapped', 'UPDATE audit_entries SET seq = -seq WHERE seq IN (6, 7); UPDATE audit_entries SET seq = 13 + seq WHERE seq < 0', 6, 'changed'],
    ])('%s is named', async (_name, statement, seq, kind) => {
      await asSuperuser(statement);
      expect(await verify()).toMatchObject({ IsIntact: false, FirstBreak: { Sequence: seq, Kind: kind } });
      await restore();
      expect(await verify()).toMatchObject({ IsIntact: true });
    });

    it('entries cut off at the end are missed at once, after a restart, and for ever', async () => {
      const { Count } = await verify();
      await eventually('the noted end', async () => (await noted()).seq === Count);
      await one.site.stopZvm();
      await asSuperuser(`DELETE FROM audit_entries WHERE seq > ${Count - 3}`);
      await one.site.startZvm();
      const admin = await one.site.client();
      one = { ...one, admin };
      // The log-in just now was the first entry that found them gone.
      expect(await verify()).toMatchObject({ IsIntact: false, FirstBreak: { Sequence: Count - 2, Kind: 'missing' } });
      expect(await last('audit.broken')).toMatchObject({ Sequence: Count + 1, Message: expect.stringContaining(`entry ${Count} with hash`) });
    });
  });
});

describe('without the database', () => {
  it('what was refused meanwhile is kept in a file and follows, also over a restart and a torn write', async () => {
    const { Count } = await verify();
    await one.postgres.kill();
    expect((await one.admin.call('POST', '/vras', { body: {} })).status).toBe(503);
    const spool = join(one.site.config.stateDir, 'audit-spool.jsonl');
    expect(await readFile(spool, 'utf8')).toContain('POST /vras');
    await one.site.stopZvm();
    await writeFile(spool, '\n{"id":"torn', { flag: 'a' });
    await one.site.startZvm();
    const again = new RestClient(one.site.zvm?.url ?? '', '');
    again.session = one.admin.session;
    expect((await again.call('PUT', '/localsite/settings/throttling', { body: {} })).status).toBe(503);
    await one.postgres.start();
    one = { ...one, admin: await one.site.client() };
    await eventually('both entries', async () => (await verify()).Count >= Count + 3);
    const newest = (await entries('?limit=60')).map(({ Action }) => Action).reverse();
    expect(newest.slice(newest.indexOf('POST /vras')).slice(0, 3)).toEqual(['POST /vras', 'PUT /localsite/settings/throttling', 'POST /session/add']);
    await expect(readFile(spool)).rejects.toThrow('ENOENT');
  });
});

describe('a ZVM that is killed between an act and its entry', () => {
  it('says at its next start that nobody knows, and who had begun what', async () => {
    await one.site.stopZvm();
    await one.site.startProcess();
    const admin = await one.site.client();
    const holder = new pg.Client({ connectionString: one.site.config.databaseUrl });
    await holder.connect();
    try {
      // The act is done, and its entry waits for this.
      await holder.query('BEGIN; LOCK TABLE audit_entries IN EXCLUSIVE MODE');
      const unanswered = admin.call('POST', '/users', { body: { UserName: 'uma', Roles: [{ Role: 'Viewer' }] } }).catch(() => undefined);
      await eventually('the user', async () => (await sql(`SELECT 1 FROM users WHERE name = 'uma'`)).length > 0);
      await one.site.killProcess();
      await unanswered;
    } finally {
      await holder.end();
    }
    await one.site.startZvm();
    one = { ...one, admin: await one.site.client() };
    await eventually('the entry', async () => (await entries('?action=POST%20/users&result=unknown')).length > 0);
    expect(await last('POST /users')).toMatchObject({
      UserName: 'admin', Method: 'Password', Permission: 'manageUsers', Result: UNKNOWN, Status: null, Input: { UserName: 'uma' }, Message: 'unknown whether it was done: the site manager was stopped meanwhile',
    });
    expect(await verify()).toMatchObject({ FirstBreak: { Kind: 'missing' } }); // the one above, and no other
  });
});
