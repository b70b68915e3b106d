import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApiError } from '@tidemark/api-client';
import { GiB, MiB } from '@tidemark/base';
import { NbdGuest } from '../guest/nbd-guest.js';
import { protect } from '../rest/vpg-client.js';
import type { Method, SiteApi } from '../rest/site-api.js';
import { Cleanups, SitePair } from './site-pair.js';
import { managerOf } from '../servers/hypervisor.js';

const ZERO_ID = '00000000-0000-4000-8000-000000000000';

/** Wrong requests against two real sites: 4xx with a Message that says what is wrong, and nothing changed. */
describe('bad input over REST', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let a: SiteApi;
  let vpgId: string;

  beforeAll(async () => {
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
    a = await pair.api('a');
    vpgId = await pair.protect('one', ['web01']);
  }, 240_000);
  afterAll(() => cleanups.run(), 60_000);

  const state = async () => ({
    vpgs: (await a.get<{ VpgName: string }[]>('/vpgs')).map((vpg) => vpg.VpgName),
    vmsA: (await pair.vms('a')).map((vm) => [vm.name, vm.powerState]),
    vmsB: (await pair.vms('b')).map((vm) => [vm.name, vm.powerState]),
  });

  const refused = async (call: Promise<unknown>, message: RegExp): Promise<void> => {
    const before = await state();
    const error = await call.then(() => undefined, (reason: unknown) => reason);
    expect(error).toBeInstanceOf(ApiError);
    const { status, message: text } = error as ApiError;
    expect(text).toMatch(message);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(await state()).toEqual(before);
  };

  const vpgPath = (rest: string): string => `/vpgs/${vpgId}${rest}`;

  it.each<[string, Method, () => string, object, RegExp]>([
    ['an unknown VPG', 'GET', () => `/vpgs/${ZERO_ID}`, {}, /vpg|not/i],
    ['an unknown task', 'GET', () => `/tasks/${ZERO_ID}.${ZERO_ID}`, {}, /task/i],
    ['an unknown checkpoint, failover', 'POST', () => vpgPath('/Failover'), { CheckpointIdentifier: '999999999', CommitPolicy: 2 }, /checkpoint/i],
    ['an unknown checkpoint, test', 'POST', () => vpgPath('/FailoverTest'), { CheckpointIdentifier: '999999999' }, /checkpoint/i],
    ['a commit without a failover', 'POST', () => vpgPath('/FailoverCommit'), { IsReverseProtection: false }, /fail/i],
    ['a rollback without a failover', 'POST', () => vpgPath('/FailoverRollback'), {}, /fail/i],
    ['a stop without a test', 'POST', () => vpgPath('/FailoverTestStop'), { FailoverTestSuccess: true }, /test/i],
    ['a checkpoint without a name', 'POST', () => vpgPath('/checkpoints'), {}, /CheckpointName/],
    ['a body of the wrong type', 'POST', () => vpgPath('/Failover'), { CheckpointIdentifier: ['1'], CommitPolicy: 'Sometimes' }, /CommitPolicy|CheckpointIdentifier/],
    ['a site that cannot be reached', 'POST', () => '/peersites', { HostName: '', Port: 70000 }, /HostName|Port/],
    ['an unknown host for a VRA', 'POST', () => '/vras', { HostIdentifier: 'x.host-9', DatastoreIdentifier: 'x.datastore-1', NetworkIdentifier: 'x.network-1' }, /host/i],
  ])('%s', async (_name, method, path, body, message) => {
    await refused(a.call(method, path(), body), message);
  });

  it.each<[string, () => Promise<{ vmIds: string[]; recoverySiteId: string }>, RegExp]>([
    ['an unknown VM', async () => ({ vmIds: [`${ZERO_ID}.vm-99`], recoverySiteId: pair.siteId('b') }), /vm/i],
    ['a VM that is protected there already', async () => ({ vmIds: [(await pair.vm('a', 'web01')).id], recoverySiteId: pair.siteId('b') }), /protected/i],
  ])('%s is not protected', async (_name, wish, message) => {
    await refused(protect(a, { name: 'two', ...(await wish()) }), message);
  });

  it('a site that is not paired is no recovery site', async () => {
    const draft = await a.call<string>('POST', '/vpgSettings', {});
    const basic = await a.get<object>(`/vpgSettings/${draft}/basic`);
    const attempt = a
      .call('PUT', `/vpgSettings/${draft}/basic`, { ...basic, Name: 'three', RecoverySiteIdentifier: ZERO_ID })
      .then(() => a.call('POST', `/vpgSettings/${draft}/commit`));
    await refused(attempt, /site/i);
  });

  it('a datastore that does not exist', async () => {
    const draft = await a.call<string>('POST', '/vpgSettings', {});
    const section = async (name: string, change: object): Promise<void> => {
      await a.call('PUT', `/vpgSettings/${draft}/${name}`, { ...(await a.get<object>(`/vpgSettings/${draft}/${name}`)), ...change });
    };
    const attempt = async (): Promise<void> => {
      await section('basic', { Name: 'four', RecoverySiteIdentifier: pair.siteId('b'), ProtectedSiteIdentifier: pair.siteId('a') });
      await section('recovery', { DefaultDatastoreIdentifier: 'x.datastore-77' });
      await a.call('POST', `/vpgSettings/${draft}/vms`, { VmIdentifier: (await pair.vm('a', 'app01')).id });
      await a.call('POST', `/vpgSettings/${draft}/commit`);
    };
    await refused(attempt(), /datastore/i);
  });

  it('a datastore without room for the disks', async () => {
    const manager = managerOf(pair.lab.layout.sites.a);
    const { hosts, datastores } = await manager.inventory();
    const big = await manager.createVm({
      requestKey: 'big', name: 'big', hostId: hosts[0]!.id, cpuCount: 1, memoryMiB: 512, guestOs: 'Debian 12', nics: [],
      disks: [{ id: 'scsi:0:0', sizeBytes: 18 * GiB, datastoreId: datastores[0]!.id, isFile: true }],
    });
    await refused(protect(a, { name: 'five', vmIds: [big.id], recoverySiteId: pair.siteId('b') }), /datastore .* too full/);
    await manager.deleteVm(big.id, { areDisksKept: false });
  });

  it.each([
    ['malformed JSON', { body: '{"CheckpointIdentifier":', session: true }, 400],
    ['a session that does not exist', { body: '{}', session: false }, 401],
  ])('%s', async (_name, { body, session }, status) => {
    const before = await state();
    const answer = await rawPost(pair, { path: vpgPath('/Failover'), body, session });
    expect(answer).toMatchObject({ status, body: { Message: expect.stringMatching(/.{5,}/) } });
    expect(await state()).toEqual(before);
  });

  it('a failover during the initial sync is refused', async () => {
    const app01 = await pair.vm('a', 'app01');
    const guest = new NbdGuest(app01.disks[0]!.nbdUri);
    for (let at = 0; at < 192 * MiB; at += 4 * MiB) await guest.write(at, randomBytes(4 * MiB));
    guest.close();
    const syncing = await protect(a, { name: 'syncing', vmIds: [app01.id], recoverySiteId: pair.siteId('b') });
    const before = await pair.vms('b');
    await expect(a.call('POST', `/vpgs/${syncing}/Failover`, { CommitPolicy: 2 })).rejects.toMatchObject({ status: 409, message: expect.stringMatching(/checkpoint|sync/i) });
    expect(await pair.vms('b')).toEqual(before);
  }, 60_000);
});

interface RawPost {
  readonly path: string;
  readonly body: string;
  /** False: a session identifier that nobody has. */
  readonly session: boolean;
}

/** What no client library would send. */
async function rawPost(pair: SitePair, { path, body, session }: RawPost): Promise<{ status: number; body: unknown }> {
  const site = await pair.status('a');
  const ca = readFileSync(site.caFile);
  const token = session ? await newSession(site.restUrl, { ca, user: site.user, password: site.password ?? '' }) : ZERO_ID;
  const { status, text } = await send(`${site.restUrl}/v1${path}`, { ca, headers: { 'x-zerto-session': token }, body });
  return { status, body: JSON.parse(text) as unknown };
}

async function newSession(restUrl: string, { ca, user, password }: { ca: Buffer; user: string; password: string }): Promise<string> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const { session } = await send(`${restUrl}/v1/session/add`, { ca, headers: { authorization }, body: '{}' });
  return session;
}

function send(url: string, { ca, headers, body }: { ca: Buffer; headers: Record<string, string>; body: string }): Promise<{ status: number; text: string; session: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', ca, headers: { 'content-type': 'application/json', ...headers } }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8'), session: String(response.headers['x-zerto-session'] ?? '') });
      });
    });
    call.once('error', reject);
    call.end(body);
  });
}
