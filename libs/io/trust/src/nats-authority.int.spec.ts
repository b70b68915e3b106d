import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect, credsAuthenticator, type NatsConnection, type TlsOptions } from '@nats-io/transport-node';
import { decode, type Account } from '@nats-io/jwt';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, makeNatsKey, NatsAuthority, type NatsGrant, type NatsKey } from './nats-authority.js';
import { TestingSite } from './testing/testing-site.js';
import { clientOptions } from './tls-options.js';
import { type ExpectedPeer, TrustBundle } from './trust-bundle.js';

const DAY_MS = 86_400_000;
let site: TestingSite;
let folder: string;
let authority: NatsAuthority;
let port: number;
let server: ChildProcess;

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port: free } = listener.address() as { port: number };
  listener.close();
  await once(listener, 'close');
  return free;
}

/** nats-server with what `NatsAuthority` and the site's CA made, nothing else. */
async function startServer(): Promise<void> {
  const path = (name: string): string => JSON.stringify(join(site.folder, 'nats-main', 'current', name));
  await writeFile(join(folder, 'nats.conf'), `
host: 127.0.0.1
port: ${port}
tls { cert_file: ${path('certificate.pem')}, key_file: ${path('key.pem')}, cipher_suites: ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"] }
${authority.serverConfiguration({ resolverFolder: join(folder, 'jwt') })}`);
  server = spawn('nats-server', ['-c', join(folder, 'nats.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    let log = '';
    server.stderr?.on('data', (bytes: Buffer) => {
      log += bytes.toString();
      if (log.includes('Server is ready')) resolve();
    });
    server.once('exit', () => reject(new Error(log)));
  });
}

async function stopServer(): Promise<void> {
  if (server.exitCode !== null) return;
  server.removeAllListeners('exit');
  server.kill('SIGKILL');
  await once(server, 'close');
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trust-nats-'));
  site = await TestingSite.make('site-a');
  await site.component('nats', 'main', { hosts: ['127.0.0.1'] });
  authority = await NatsAuthority.openOrMake(join(folder, 'authority'), { siteId: 'site-a', siteName: 'a' });
  port = await freePort();
  await startServer();
});
afterAll(async () => {
  await stopServer();
  for (const path of [folder, site.folder]) await rm(path, { recursive: true });
});

const grant = (name: string, part: Partial<NatsGrant> = {}): NatsGrant => ({
  name, publish: [`tidemark.${name}.out.>`], subscribe: [`tidemark.${name}.in.>`, `_INBOX.${name}.>`], listener: 'standard', payloadBytesMax: 65_536, subscriptionsMax: 64, notAfterMs: Date.now() + DAY_MS, ...part,
});

/** The transport hands everything in `tls` on to node:tls, though its type knows only files. */
const serverIsOurs = (expected: ExpectedPeer = { siteId: 'site-a', role: 'nats' }): TlsOptions =>
  clientOptions(undefined, new TrustBundle([{ siteId: 'site-a', caPem: site.ca.trustedPem }]), expected) as TlsOptions;

const dial = (jwt: string, { seed }: NatsKey, name: string): Promise<NatsConnection> =>
  connect({
    servers: `tls://127.0.0.1:${port}`, authenticator: credsAuthenticator(new TextEncoder().encode(credentials(jwt, seed))), inboxPrefix: `_INBOX.${name}`,
    tls: serverIsOurs(), reconnect: false, timeout: 3000,
  });

async function user(name: string, part: Partial<NatsGrant> = {}): Promise<{ key: NatsKey; jwt: string; connection: NatsConnection }> {
  const key = makeNatsKey();
  const jwt = await authority.user(key.publicKey, grant(name, part));
  return { key, jwt, connection: await dial(jwt, key, name) };
}

/** What the server says against a subscription, or undefined when it took it. */
async function refusalToSubscribe(connection: NatsConnection, subject: string): Promise<string | undefined> {
  let refusal: string | undefined;
  connection.subscribe(subject, { callback: (error) => void (refusal ??= error?.message) });
  await connection.flush();
  await connection.flush();
  return refusal;
}

async function pushClaims(jwt: string): Promise<unknown> {
  const key = makeNatsKey();
  const system = await dial(await authority.systemUser(key.publicKey, grant('sys', { publish: ['$SYS.REQ.CLAIMS.UPDATE'], subscribe: ['_INBOX.sys.>'] })), key, 'sys');
  const answer = (await system.request('$SYS.REQ.CLAIMS.UPDATE', jwt, { timeout: 3000 })).json();
  await system.close();
  return answer;
}

describe('NATS users of a site, at nats-server', () => {
  it('speak on their own subjects and on no other', async () => {
    const [one, two] = [await user('one'), await user('two', { publish: ['tidemark.one.in.>'], subscribe: ['tidemark.one.out.>'] })];
    const heard: string[] = [];
    two.connection.subscribe('tidemark.one.out.>', { callback: (_error, message) => void heard.push(message.subject) });
    await two.connection.flush();
    one.connection.publish('tidemark.two.out.hello');
    one.connection.publish('tidemark.one.out.hello');
    await one.connection.flush();
    await two.connection.flush();
    expect(heard).toEqual(['tidemark.one.out.hello']);
    expect(await refusalToSubscribe(one.connection, 'tidemark.one.in.x')).toBeUndefined();
    for (const subject of ['tidemark.two.in.x', '>', '_INBOX.>', '_INBOX.two.x', '$SYS.>']) expect(await refusalToSubscribe(one.connection, subject)).toContain('ermissions');
    await Promise.all([one.connection.close(), two.connection.close()]);
  });

  it('answer what they are asked, once, and say nothing else', async () => {
    const asker = await user('asker', { publish: ['tidemark.answerer.in.>'] });
    const answerer = await user('answerer', { publish: [], answers: true });
    let late: (() => void) | undefined;
    answerer.connection.subscribe('tidemark.answerer.in.>', {
      callback: (_error, message) => {
        message.respond('first');
        late = () => void message.respond('second');
      },
    });
    await answerer.connection.flush();
    expect((await asker.connection.request('tidemark.answerer.in.x', '', { timeout: 3000 })).string()).toBe('first');
    const heard: string[] = [];
    asker.connection.subscribe('_INBOX.asker.>', { callback: (_error, message) => void heard.push(message.string()) });
    await asker.connection.flush();
    late?.();
    answerer.connection.publish('_INBOX.asker.x', 'unasked');
    answerer.connection.publish('tidemark.asker.in.x', 'unasked');
    await answerer.connection.flush();
    await asker.connection.flush();
    expect(heard).toEqual([]);
    await Promise.all([asker.connection.close(), answerer.connection.close()]);
  });

  it('that were made for 9081, that are over, that others signed or that nobody knows do not get in', async () => {
    const key = makeNatsKey();
    const stranger = await NatsAuthority.openOrMake(join(folder, 'stranger'), { siteId: 'site-a', siteName: 'a' });
    const jwts = [
      await authority.user(key.publicKey, grant('peer', { listener: 'websocket' })), await authority.user(key.publicKey, grant('old', { notAfterMs: Date.now() - 5000 })),
      await stranger.user(key.publicKey, grant('stranger')), await authority.user(makeNatsKey().publicKey, grant('theft')),
    ];
    for (const jwt of jwts) await expect(dial(jwt, key, 'x')).rejects.toThrow(/uthorization|authentication/i);
    await expect(connect({ servers: `tls://127.0.0.1:${port}`, tls: serverIsOurs(), reconnect: false })).rejects.toThrow(/uthorization/i);
  });

  it('do not talk to a server that is not the NATS server of the site', async () => {
    for (const expected of [{ siteId: 'site-a', role: 'zvm' as const }, { siteId: 'site-b' }]) {
      await expect(connect({ servers: `tls://127.0.0.1:${port}`, tls: serverIsOurs(expected), reconnect: false })).rejects.toThrow(/the peer is tidemark:/);
    }
    await expect(connect({ servers: `tls://127.0.0.1:${port}`, reconnect: false })).rejects.toThrow(/self-signed/);
    await expect(connect({ servers: `tls://127.0.0.1:${port}`, tls: { ...serverIsOurs(), minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as TlsOptions, reconnect: false })).rejects.toThrow();
  });

  it('are cut at the moment when they end', async () => {
    const { connection } = await user('short', { notAfterMs: Date.now() + 2500 });
    expect(String(await connection.closed())).toMatch(/expired/i);
  });

  it('are cut, and stay out, when they are revoked; also after the server has lost its memory', async () => {
    const [gone, stays] = [await user('gone'), await user('stays')];
    const closed = gone.connection.closed();
    const claims = await authority.revoke(gone.key.publicKey, Date.now());
    expect(await pushClaims(claims)).toMatchObject({ data: { code: 200 } });
    expect(String(await closed)).toMatch(/revoked|uthorization/i);
    expect(stays.connection.isClosed()).toBe(false);
    await expect(dial(gone.jwt, gone.key, 'gone')).rejects.toThrow(/uthorization/i);
    await stays.connection.close();

    await stopServer();
    await rm(join(folder, 'jwt'), { recursive: true });
    authority = await NatsAuthority.openOrMake(join(folder, 'authority'), { siteId: 'site-a', siteName: 'a' });
    await startServer();
    await expect(dial(gone.jwt, gone.key, 'gone')).rejects.toThrow(/uthorization/i);
    await (await dial(stays.jwt, stays.key, 'stays')).close();
  });

  it('cannot be made for what is no user key, nor without an end', async () => {
    await expect(authority.user(authority.accountPublicKey, grant('x'))).rejects.toMatchObject({ code: 'TRUST_REQUEST' });
    await expect(authority.user('../../etc', grant('x'))).rejects.toMatchObject({ code: 'TRUST_REQUEST' });
    await expect(authority.user(makeNatsKey().publicKey, grant('x', { notAfterMs: Number.NaN }))).rejects.toThrow('ends is missing');
    await expect(authority.revoke('x', Date.now())).rejects.toMatchObject({ code: 'TRUST_REQUEST' });
  });

  it('forgets revocations that revoke nobody any more', async () => {
    const kept = await NatsAuthority.openOrMake(join(folder, 'pruned'), { siteId: 'site-a', siteName: 'a' });
    const [old, recent] = [makeNatsKey().publicKey, makeNatsKey().publicKey];
    await kept.revoke(old, Date.now() - 500 * DAY_MS);
    const claims = decode<Account>(await kept.revoke(recent, Date.now()));
    expect(Object.keys(claims.nats.revocations ?? {})).toEqual([recent]);
  });

  it('are those of the folder, whose keys others cannot have', async () => {
    const reopened = await NatsAuthority.openOrMake(join(folder, 'authority'), { siteId: 'site-a', siteName: 'a' });
    expect(reopened.accountPublicKey).toBe(authority.accountPublicKey);
    expect(reopened.accountJwt).toBe(authority.accountJwt);
    await writeFile(join(folder, 'stranger', 'current', 'operator.nk'), await import('node:fs/promises').then((fs) => fs.readFile(join(folder, 'authority', 'current', 'operator.nk'))));
    await expect(NatsAuthority.openOrMake(join(folder, 'stranger'), { siteId: 'site-a', siteName: 'a' })).rejects.toThrow('operator.nk is not the key of operator.jwt');
  });
});
