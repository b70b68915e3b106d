import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { ApiClient, ApiError, type Trust } from './index.js';
import { type ApiReply, type ApiRequest, type ApiServer, startApiServer } from './testing/index.js';

let server: ApiServer;
let clients: ApiClient[];
let answer: (request: ApiRequest) => ApiReply;

beforeEach(async () => {
  clients = [];
  answer = () => ({ body: [] });
  server = await startApiServer((request) => answer(request));
});

afterEach(async () => {
  for (const client of clients) await client.close();
  await server.stop();
});

function client(trust: Trust = { kind: 'ca', pem: server.certificatePem }, timeoutMs = 5000): ApiClient {
  const made = new ApiClient({ url: server.url, trust, timeoutMs });
  clients.push(made);
  return made;
}

const loggedIn = async (trust?: Trust): Promise<ApiClient> => {
  const made = client(trust);
  await made.login(server);
  return made;
};

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(() => 'none', (error: unknown) => (error instanceof ApiError ? error.code : `not an ApiError: ${String(error)}`));
}

describe('sessions', () => {
  it('logs in with Basic, sends the session, logs out', async () => {
    const api = await loggedIn();
    expect(await api.get('/vpgs')).toEqual([]);
    expect(server.openSessions()).toBe(1);
    await api.logout();
    expect(server.openSessions()).toBe(0);
  });

  it('tells a wrong password from an unreachable site', async () => {
    expect(await codeOf(client().login({ user: 'admin', password: 'x' }))).toBe('API_UNAUTHORIZED');
    await server.stop();
    expect(await codeOf(client().login(server))).toBe('API_UNREACHABLE');
  });

  it('logs in again when the session has ended meanwhile', async () => {
    const api = await loggedIn();
    server.endSessions();
    expect(await api.get('/vpgs')).toEqual([]);
  });
});

describe('trust', () => {
  it('takes the pinned fingerprint, with and without colons', async () => {
    const colons = server.fingerprint.toUpperCase().replace(/(..)(?!$)/g, '$1:');
    for (const sha256 of [server.fingerprint, colons]) await expect(loggedIn({ kind: 'fingerprint', sha256 })).resolves.toBeDefined();
  });

  it('sends nothing to a server with another certificate', async () => {
    const wrong = server.fingerprint.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
    expect(await codeOf(loggedIn({ kind: 'fingerprint', sha256: wrong }))).toBe('API_UNTRUSTED');
    expect(await codeOf(loggedIn({ kind: 'system' }))).toBe('API_UNTRUSTED');
    expect(server.openSessions()).toBe(0);
  });

  const HOUR_MS = 3_600_000;
  const life = (fromHours: number, toHours: number): { notBeforeMs: number; notAfterMs: number } => ({ notBeforeMs: Date.now() + fromHours * HOUR_MS, notAfterMs: Date.now() + toHours * HOUR_MS });

  it.each([
    ['ended', life(-3, -1), /is not believed: its certificate ended at 20\S+; this machine's clock says 20\S+: renew the certificate, or mend the clock that is wrong$/],
    ['begins later', life(1, 3), /is not believed: its certificate begins at 20\S+; this machine's clock says 20\S+: renew/],
  ])('says what is wrong with a certificate that %s', async (_, lived, message) => {
    const pem = await server.changeCertificate(lived);
    await expect(loggedIn({ kind: 'ca', pem })).rejects.toMatchObject({ code: 'API_UNTRUSTED', message: expect.stringMatching(message) });
  });

  it('says whose certificate is of no CA that it was told', async () => {
    const other = server.certificatePem;
    await server.changeCertificate(life(-1, 1));
    await expect(loggedIn({ kind: 'ca', pem: other })).rejects.toMatchObject({
      code: 'API_UNTRUSTED', message: expect.stringMatching(/127.0.0.1:\d+ is not believed: its certificate \(CN=test \S+, issued by CN=test \S+\) is not of a CA that is trusted here$/),
    });
    expect(server.openSessions()).toBe(0);
  });

  it('follows a server to its next CA, of which it heard while it believed the server', async () => {
    const api = await loggedIn();
    const next = await server.changeCertificate(life(-1, 1));
    expect(await codeOf(api.get('/vpgs'))).toBe('API_UNTRUSTED');
    api.believeToo(next);
    expect(await api.get('/vpgs')).toEqual([]);
  });

  it('refuses plain http', () => {
    expect(() => new ApiClient({ url: 'http://127.0.0.1', trust: { kind: 'system' } })).toThrow('no https address');
  });
});

describe('calls', () => {
  it('sends query and body, and reads empty answers as undefined', async () => {
    answer = ({ method }) => (method === 'PUT' ? {} : { body: 'task' });
    const api = await loggedIn();
    await api.get('/vpgs', { name: 'a b&c', status: 1, priority: undefined });
    expect(await api.put('/vpgSettings/1/basic', { Name: 'é' })).toBeUndefined();
    expect(await api.delete('/vpgs/1', { Force: true })).toBe('task');
    expect(server.requests.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['GET', '/vpgs', undefined], ['PUT', '/vpgsettings/1/basic', { Name: 'é' }], ['DELETE', '/vpgs/1', { Force: true }],
    ]);
    expect([...(server.requests[0]?.query ?? [])]).toEqual([['name', 'a b&c'], ['status', '1']]);
  });

  it.each([
    [404, 'API_REFUSED', false], [409, 'API_REFUSED', false], [503, 'API_UNAVAILABLE', true], [500, 'API_FAILED', false],
  ])('turns status %d into %s with the Message of the server', async (status, code, isRetryable) => {
    answer = () => ({ status, body: { Message: 'VPG x does not exist' } });
    await expect((await loggedIn()).get('/vpgs/x')).rejects.toMatchObject({ code, message: 'VPG x does not exist', status, isRetryable });
  });

  it('is not confused by answers of others', async () => {
    answer = () => ({ status: 502, text: '<html>bad gateway' });
    const api = await loggedIn();
    await expect(api.get('/vpgs')).rejects.toMatchObject({ code: 'API_FAILED', message: 'the server answered with status 502' });
    answer = () => ({ text: '<html>' });
    await expect(api.get('/vpgs')).rejects.toMatchObject({ code: 'API_PROTOCOL' });
  });

  it('sends a GET again on a new connection when a kept one was cut, a POST never', async () => {
    const api = await loggedIn();
    let cuts = 0;
    answer = () => (cuts++ === 0 ? { isCut: true } : { body: ['there'] });
    expect(await api.get('/vpgs')).toEqual(['there']);
    cuts = 0;
    expect(await codeOf(api.post('/vpgs/1/Failover'))).toBe('API_UNREACHABLE');
    expect(server.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });

  it('gives up on a server that accepts and says nothing', async () => {
    const sockets: Socket[] = [];
    const mute = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const api = new ApiClient({ url: `https://127.0.0.1:${(mute.address() as AddressInfo).port}`, trust: { kind: 'system' }, timeoutMs: 200 });
    expect(await codeOf(api.login({ user: 'a', password: 'b' }))).toBe('API_TIMEOUT');
    await api.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => mute.close(resolve));
  });
});

describe('waitForTask', () => {
  const task = (State: number, Progress: number, CompleteReason = ''): ApiReply => ({ body: { Status: { State, Progress }, CompleteReason } });

  it('reports progress until the task is completed', async () => {
    const replies = [task(1, 0), task(1, 40), task(6, 100)];
    answer = () => replies.shift() ?? task(6, 100);
    const seen: number[] = [];
    await (await loggedIn()).waitForTask('t.1', { pollMs: 1, onProgress: ({ Status }) => seen.push(Status.Progress) });
    expect(seen).toEqual([0, 40, 100]);
  });

  it.each([[4], [5]])('fails with the reason of a task that ended in state %d', async (state) => {
    answer = () => task(state, 30, 'datastore is full');
    await expect((await loggedIn()).waitForTask('t', { pollMs: 1 })).rejects.toMatchObject({ code: 'API_TASK_FAILED', message: 'datastore is full' });
  });

  it('sits out a restart of the site manager, but not for ever', async () => {
    const replies: ApiReply[] = [task(1, 10), { status: 503, body: { Message: 'database' } }, { isCut: true }, task(6, 100)];
    answer = () => replies.shift() ?? { isCut: true };
    const api = await loggedIn();
    await expect(api.waitForTask('t', { pollMs: 1 })).resolves.toMatchObject({ Status: { State: 6 } });
    expect(await codeOf(api.waitForTask('t', { pollMs: 1, silenceMs: 30 }))).toBe('API_UNREACHABLE');
  });

  it('stops at its time limit and on demand', async () => {
    answer = () => task(1, 10);
    const api = await loggedIn();
    expect(await codeOf(api.waitForTask('t', { pollMs: 1, timeoutMs: 20 }))).toBe('API_TASK_TIMEOUT');
    await expect(api.waitForTask('t', { pollMs: 10_000, signal: AbortSignal.timeout(20) })).rejects.toThrow();
  });
});
