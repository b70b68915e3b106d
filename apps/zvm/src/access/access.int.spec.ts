import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { CreatedTokenApi, GeneratedPasswordApi, TaskApi, UserApi, VpgApi } from '@tidemark/contracts';
import { TaskService } from '../task/task.service.js';
import { vpgDefinition, vpgRecord } from '../testing/factories.js';
import { type OneSite, openSite } from '../testing/one-site.js';
import { RestClient } from '../testing/rest-client.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { type Role, ROLE_PERMISSIONS, ROLES } from './permissions.js';
import { type Route, routesOf } from './routes.js';

const OWN_VPG = 'cccccccc-0000-4000-8000-000000000001';
const OTHER_VPG = 'cccccccc-0000-4000-8000-000000000002';
const NEW_PASSWORD = 'correct horse battery staple';
const READING = ['GET', 'HEAD', 'OPTIONS'];

let one: OneSite;
let routes: Route[];
const clients = new Map<string, RestClient>();

/** A user with a password of its own, logged in. */
async function userWith(name: string, roles: { Role: string; VpgIdentifiers?: string[] }[]): Promise<RestClient> {
  const made = await one.admin.ok<GeneratedPasswordApi>('POST', '/users', { UserName: name, Roles: roles });
  const client = new RestClient(one.site.zvm?.url ?? '', made.Password);
  expect((await client.logIn(name)).status).toBe(200);
  await client.ok('POST', '/session/password', { OldPassword: made.Password, NewPassword: NEW_PASSWORD });
  return client;
}

beforeAll(async () => {
  one = await openSite();
  const { app } = one.site.zvm ?? {};
  if (!app) throw new Error('no ZVM');
  routes = routesOf(app);
  const { siteId } = one.site.config;
  const vpgs = app.get(VpgStore);
  for (const [vpgId, name] of [[OWN_VPG, 'own'], [OTHER_VPG, 'other']] as const) {
    await vpgs.decide(vpgId, () => Promise.resolve(vpgRecord({ definition: vpgDefinition({ vpgId, name, recoverySiteId: siteId, vms: [] }) })));
    await app.get(TaskService).start({ type: 'InsertTaggedCP', initiatedBy: name, related: { vpgIds: [vpgId] } });
  }
  for (const role of ROLES) clients.set(role, await userWith(role, [{ Role: role }]));
  clients.set('bound', await userWith('bound', [{ Role: 'operator', VpgIdentifiers: [OWN_VPG] }]));
}, 60_000);
afterAll(() => one.close());

const client = (name: string): RestClient => clients.get(name) ?? one.admin;
const isMutating = (route: Route): boolean => !READING.includes(route.method);
const filled = (path: string, values: Record<string, string> = {}): string => path.replace(/:(\w+)/g, (_, name: string) => values[name] ?? 'ffffffff-0000-4000-8000-000000000000');

describe('permissions', () => {
  it('every handler that changes something declares a permission; logging in alone is open to all', () => {
    const mutating = routes.filter(isMutating);
    expect(mutating.length).toBeGreaterThan(50);
    expect(mutating.filter(({ own, isPublic }) => own === undefined && !isPublic).map(({ method, path }) => `${method} ${path}`)).toEqual([]);
    expect(mutating.filter(({ isPublic }) => isPublic).map(({ method, path }) => `${method} ${path}`)).toEqual(['POST /session/oidc/begin', 'POST /session/oidc/finish', 'POST /session/add']);
  });

  it.each(ROLES)('%s may change what the table says, and nothing else', async (role: Role) => {
    // Logging out comes last: it ends what all the others are asked with.
    const asked = routes.filter((route) => isMutating(route) && !route.isPublic).sort((a, b) => Number(a.path === '/session') - Number(b.path === '/session'));
    const wrong: string[] = [];
    for (const route of asked) {
      const { status, text } = await client(role).call(route.method, filled(route.path), { body: {} });
      const isAllowed = route.own !== undefined && ROLE_PERMISSIONS[role].includes(route.own.permission);
      if ((status === 403) === isAllowed || status === 401 || status >= 500) wrong.push(`${route.method} ${route.path}: ${status} ${text}`);
    }
    expect(wrong).toEqual([]);
    expect((await client(role).logIn(role, NEW_PASSWORD)).status).toBe(200);
  });

  /** Written by hand, so that a slip in the table is seen. */
  it.each([
    ['viewer', 'POST', '/vpgs/x/FailoverTest', 403], ['viewer', 'POST', '/alerts/x/dismiss', 403], ['viewer', 'GET', '/vpgs', 200], ['viewer', 'GET', '/users', 403],
    ['tester', 'POST', '/vpgs/x/FailoverTest', 404], ['tester', 'POST', '/vpgs/x/Failover', 403], ['tester', 'POST', '/vpgs/x/FailoverCommit', 403],
    ['operator', 'POST', '/vpgs/x/Failover', 404], ['operator', 'POST', '/vras', 403], ['operator', 'POST', '/peersites', 403], ['operator', 'PUT', '/localsite/settings/throttling', 403],
    ['operator', 'POST', '/users', 403], ['fileRestoreOperator', 'POST', '/vpgs/x/checkpoints', 403], ['administrator', 'POST', '/vras', 400],
  ] as const)('%s: %s %s answers %i', async (role, method, path, status) => {
    expect((await client(role).call(method, path, method === 'GET' ? {} : { body: {} })).status).toBe(status);
  });

  it('a role bound to a VPG sees and acts on that VPG only', async () => {
    const bound = client('bound');
    expect((await bound.ok<VpgApi[]>('GET', '/vpgs')).map(({ VpgName }) => VpgName)).toEqual(['own']);
    expect((await client('viewer').ok<VpgApi[]>('GET', '/vpgs')).map(({ VpgName }) => VpgName).sort()).toEqual(['other', 'own']);
    expect((await bound.ok<TaskApi[]>('GET', '/tasks')).map(({ InitiatedBy }) => InitiatedBy)).toEqual(['own']);
    const all = await one.admin.ok<TaskApi[]>('GET', '/tasks');
    const other = all.find(({ InitiatedBy }) => InitiatedBy === 'other');
    expect(await bound.refused(404, 'GET', `/tasks/${other?.TaskIdentifier ?? ''}`)).toContain('does not exist');
    expect((await bound.call('GET', `/vpgs/${OWN_VPG}`)).status).toBe(200);
    expect(await bound.refused(403, 'GET', `/vpgs/${OTHER_VPG}/checkpoints`)).toContain(`permission view on VPG ${OTHER_VPG}`);
    // Every route that names a VPG: the own one gets past the guard, the other one does not, in any letter case.
    for (const { method, path } of routes.filter(({ path }) => path.includes(':vpg'))) {
      const options = READING.includes(method) ? {} : { body: {} };
      if (method !== 'DELETE') expect({ path, status: (await bound.call(method, filled(path, { vpg: OWN_VPG.toUpperCase() }), options)).status }).not.toMatchObject({ status: 403 });
      expect({ path, status: (await bound.call(method, filled(path, { vpg: OTHER_VPG.toUpperCase() }), options)).status }).toEqual({ path, status: 403 });
    }
  });

  it('a bound role changes nothing of the site, and settings that choose VMs are of the site', async () => {
    for (const [method, path] of [['POST', '/vpgSettings'], ['GET', '/vpgSettings'], ['GET', `/virtualizationsites/${one.site.config.siteId}/vms`], ['POST', '/vras']] as const) {
      expect(await client('bound').refused(403, method, path, method === 'POST' ? {} : undefined)).toMatch(/only on some VPGs|does not have the permission/);
    }
    expect((await client('bound').call('GET', `/virtualizationsites/${one.site.config.siteId}/hosts`)).status).toBe(200);
  });
});

describe('users', () => {
  const byName = async (name: string): Promise<UserApi> => {
    const found = (await one.admin.ok<UserApi[]>('GET', '/users')).find(({ UserName }) => UserName === name);
    if (!found) throw new Error(`no user ${name}`);
    return found;
  };

  it('a generated password opens a session that can only change it', async () => {
    const made = await one.admin.ok<GeneratedPasswordApi>('POST', '/users', { UserName: 'fresh', Roles: [{ Role: 'Operator' }] });
    const fresh = new RestClient(one.site.zvm?.url ?? '', made.Password);
    await fresh.logIn('fresh');
    expect(await fresh.refused(403, 'GET', '/vpgs')).toContain('must be changed first');
    expect(await fresh.refused(400, 'POST', '/session/password', { OldPassword: made.Password, NewPassword: 'short' })).toContain('at least 12');
    expect(await fresh.refused(400, 'POST', '/session/password', { OldPassword: made.Password, NewPassword: 'my name is fresh!' })).toContain('user name');
    expect(await fresh.refused(403, 'POST', '/session/password', { OldPassword: 'wrong', NewPassword: NEW_PASSWORD })).toContain('OldPassword');
    const elsewhere = new RestClient(one.site.zvm?.url ?? '', made.Password);
    await elsewhere.logIn('fresh');
    await fresh.ok('POST', '/session/password', { OldPassword: made.Password, NewPassword: NEW_PASSWORD });
    expect((await fresh.call('GET', '/vpgs')).status).toBe(200);
    expect((await elsewhere.call('GET', '/vpgs')).status).toBe(401);
  });

  it('sessions end when roles change, the user is disabled, its password is reset or it is removed', async () => {
    const user = await userWith('leaver', [{ Role: 'Viewer' }]);
    const { UserIdentifier: id } = await byName('leaver');
    const steps: readonly [string, string, object][] = [
      ['PUT', `/users/${id}`, { Roles: [{ Role: 'Tester' }] }], ['PUT', `/users/${id}`, { IsDisabled: true }], ['PUT', `/users/${id}`, { IsDisabled: false }],
    ];
    for (const [method, path, body] of steps) {
      await user.logIn('leaver', NEW_PASSWORD);
      await one.admin.ok(method, path, body);
      expect((await user.call('GET', '/session')).status).toBe(401);
    }
    await one.admin.ok('PUT', `/users/${id}`, { IsDisabled: true });
    expect((await user.logIn('leaver', NEW_PASSWORD)).text).toContain('disabled');
    await one.admin.ok('PUT', `/users/${id}`, { IsDisabled: false });
    await user.logIn('leaver', NEW_PASSWORD);
    const reset = await one.admin.ok<GeneratedPasswordApi>('POST', `/users/${id}/resetPassword`, {});
    expect((await user.call('GET', '/session')).status).toBe(401);
    expect((await user.logIn('leaver', NEW_PASSWORD)).status).toBe(401);
    expect((await user.logIn('leaver', reset.Password)).status).toBe(200);
    await one.admin.ok('DELETE', `/users/${id}`);
    expect((await user.call('GET', '/session')).status).toBe(401);
  });

  it('an API token that manages users makes nobody an administrator, and takes none over', async () => {
    const { Token } = await one.admin.ok<CreatedTokenApi>('POST', '/tokens', { Name: 'staff list', Scopes: ['view', 'manageUsers'], Expires: new Date(Date.now() + 3_600_000).toISOString() });
    const call = async (method: string, path: string, body: object = {}): Promise<{ status: number; text: string }> =>
      await new RestClient(one.site.zvm?.url ?? '', '').call(method, path, { body, headers: { authorization: `Bearer ${Token}` } });
    const administrator = [{ Role: 'Administrator' }];
    const [{ UserIdentifier: adminId }, made] = [await byName('administrator'), await call('POST', '/users', { UserName: 'newcomer', Roles: [{ Role: 'Viewer' }] })];
    expect(made.status).toBe(200);
    const { UserIdentifier: id } = JSON.parse(made.text) as GeneratedPasswordApi;
    for (const [method, path, body] of [
      ['POST', `/users/${adminId}/resetPassword`, {}], ['PUT', `/users/${adminId}`, { Roles: [{ Role: 'Viewer' }] }], ['PUT', `/users/${adminId}`, { IsDisabled: true }], ['DELETE', `/users/${adminId}`, {}],
      ['PUT', `/users/${id}`, { Roles: administrator }], ['POST', '/users', { UserName: 'second', Roles: administrator }],
    ] as const) expect([method, path, await call(method, path, body)]).toEqual([method, path, expect.objectContaining({ status: 403, text: expect.stringContaining('whatever the token\'s scopes say') })]);
    for (const [method, path, body] of [['POST', `/users/${adminId}/unlock`, {}], ['PUT', `/users/${id}`, { Roles: [{ Role: 'Tester' }] }], ['POST', `/users/${id}/resetPassword`, {}], ['DELETE', `/users/${id}`, {}]] as const) {
      expect([method, path, (await call(method, path, body)).status]).toEqual([method, path, 200]);
    }
    expect((await byName('administrator')).Roles).toMatchObject(administrator);
  });

  it('the last administrator can neither be removed, nor disabled, nor lose the role', async () => {
    const admins = (await one.admin.ok<UserApi[]>('GET', '/users')).filter(({ Roles }) => Roles.some(({ Role }) => Role === 'Administrator'));
    expect(admins.map(({ UserName }) => UserName).sort()).toEqual(['admin', 'administrator']);
    const [first, second] = [await byName('admin'), await byName('administrator')];
    // Both at once: one of them stays.
    const ended = await Promise.all([first, second].map(({ UserIdentifier }) => one.admin.call('PUT', `/users/${UserIdentifier}`, { body: { IsDisabled: true } })));
    expect(ended.map(({ status }) => status).sort()).not.toEqual([200, 200]);
    const left = (await one.admin.logIn()).status === 200 ? one.admin : client('administrator');
    if (left !== one.admin) await left.logIn('administrator', NEW_PASSWORD);
    const users = await left.ok<UserApi[]>('GET', '/users');
    const active = users.filter(({ Roles, IsDisabled }) => !IsDisabled && Roles.some(({ Role }) => Role === 'Administrator'));
    expect(active).toHaveLength(1);
    const [{ UserIdentifier: id } = { UserIdentifier: '' }] = active;
    expect(await left.refused(409, 'DELETE', `/users/${id}`)).toContain('last administrator');
    expect(await left.refused(409, 'PUT', `/users/${id}`, { Roles: [{ Role: 'Viewer' }] })).toContain('last administrator');
    expect(await left.refused(400, 'POST', '/users', { UserName: 'half', Roles: [{ Role: 'Administrator', VpgIdentifiers: [OWN_VPG] }] })).toContain('whole site');
  });
});
