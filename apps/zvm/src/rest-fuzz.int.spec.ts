import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { Random } from '@tidemark/testing';
import { Agent } from 'node:https';
import pg from 'pg';
import { FakeDataPlane } from './testing/fake-data-plane.js';
import { fuzzedRequest, type FuzzedRequest, type KnownIds, type OpenApi, type Route, routesOf } from './testing/rest-fuzz/openapi-requests.js';
import type { RestClient } from './testing/rest-client.js';
import { startPostgres, type TestServer } from './testing/servers.js';
import { TestSite } from './testing/test-site.js';

/** In the gate; `TIDEMARK_FUZZ_ROUNDS=200 LANE=integration jest rest-fuzz` goes on from there, TIDEMARK_FUZZ_SEED elsewhere. */
const ROUNDS = Number(process.env['TIDEMARK_FUZZ_ROUNDS'] ?? 2);
const SEED = Number(process.env['TIDEMARK_FUZZ_SEED'] ?? 1);

/** Requests delete some. */
const DRAFTS = 10;

/** What changes by itself, or by being asked at all. */
const RESTLESS = ['sessions', 'alerts', 'events', 'tasks', 'operations', 'audit_entries', 'login_failures', 'known_addresses', 'migrations'];

let postgres: TestServer | undefined;
let plane: FakeDataPlane | undefined;
let site: TestSite | undefined;
let database: pg.Client | undefined;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
let client: RestClient;
let api: OpenApi;
let known: KnownIds;

beforeAll(async () => {
  postgres = await startPostgres();
  plane = new FakeDataPlane();
  site = await TestSite.open({ name: 'a', postgres, plane, vmNames: ['web', 'db'] });
  await site.startZvm();
  client = await site.client(agent);
  const { siteId } = site.config;
  api = await client.ok<OpenApi>('GET', '/openapi.json');
  const vms = await client.ok<{ VmIdentifier: string }[]>('GET', `/virtualizationsites/${siteId}/vms`);
  const hosts = await client.ok<{ HostIdentifier: string }[]>('GET', `/virtualizationsites/${siteId}/hosts`);
  const drafts: string[] = [];
  for (let index = 0; index < DRAFTS; index += 1) drafts.push(await client.ok<string>('POST', '/vpgSettings', { Basic: { Name: `kept ${index}` } }));
  for (const draft of drafts) await client.ok('POST', `/vpgSettings/${draft}/vms`, { VmIdentifier: vms[0]?.VmIdentifier });
  known = { site: [siteId], sid: drafts, volume: ['scsi:0:0'], vm: vms.map((vm) => vm.VmIdentifier), host: hosts.map((host) => host.HostIdentifier) };
  database = new pg.Client({ connectionString: site.config.databaseUrl });
  await database.connect();
}, 60_000);
afterAll(async () => {
  agent.destroy();
  await database?.end();
  await site?.close();
  await plane?.close();
  await postgres?.close();
});

/** Everything that is stored, as one text. */
async function stored(): Promise<string> {
  const tables = await database?.query<{ name: string }>("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND NOT tablename = ANY($1) ORDER BY 1", [RESTLESS]);
  const parts = (tables?.rows ?? []).map(({ name }) => `SELECT '${name}' AS place, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS digest FROM "${name}" t`);
  const digests = await database?.query<{ place: string; digest: string }>(parts.join(' UNION ALL '));
  return (digests?.rows ?? []).map(({ place, digest }) => `${place} ${digest}`).sort().join('\n');
}

/** The complaint about one exchange, or nothing. */
async function complaint(request: FuzzedRequest): Promise<string | undefined> {
  const before = await stored();
  const answer = await client.call(request.method, request.path, request.text === undefined ? {} : { text: request.text });
  // A peer or host that does not exist is out of reach: 503 says so and is nobody's bug.
  if (answer.status >= 500 && answer.status !== 503) return `answered ${answer.status}: ${answer.text.slice(0, 300)}`;
  if (answer.status >= 400 && !answer.text.includes('"Message"')) return `${answer.status} without a Message: ${answer.text.slice(0, 100)}`;
  if (answer.status < 400 || request.method === 'GET') return undefined;
  const after = await stored();
  // Logged out, by a request that was allowed to: only the log-in itself is refused in another sense.
  if (answer.status === 401 && !request.path.includes('session')) client = (await site?.client(agent)) ?? client;
  return after === before ? undefined : `refused with ${answer.status} and changed\n${before}\nto\n${after}`;
}

it('random and damaged requests to every route are answered, never with 500, and change nothing when refused', async () => {
  const random = new Random(SEED);
  const findings: string[] = [];
  const routes = routesOf(api).filter(({ method, path }) => !isLogOut(method, path));
  expect(routes.length).toBeGreaterThan(60);
  for (let round = 0; round < ROUNDS; round += 1) {
    // What changes something is asked twice as often.
    for (const route of [...routes, ...routes.filter(({ method }) => method !== 'GET')]) {
      const request = fuzzedRequest(route, { api, known, random });
      const found = await complaint(request);
      if (found !== undefined) findings.push(`${request.method} ${request.path} ${request.text?.slice(0, 400) ?? ''}: ${found}`);
    }
  }
  expect(findings).toEqual([]);
  expect(({} as { isAdmin?: unknown }).isAdmin).toBeUndefined();
});

/** Would only make every later request a 401. */
const isLogOut = (method: Route['method'], path: string): boolean => method === 'DELETE' && path.toLowerCase() === '/session';
