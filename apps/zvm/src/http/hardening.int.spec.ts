import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect } from 'node:net';
import { type OneSite, openSite } from '../testing/one-site.js';
import { RestClient } from '../testing/rest-client.js';

const CALLS = 60;

let one: OneSite;

beforeAll(async () => {
  one = await openSite({ TIDEMARK_CALLS_PER_MINUTE: String(CALLS) });
}, 60_000);
afterAll(() => one.close());

describe('calls that a foreign page could make', () => {
  it.each([
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['a form with files', { 'content-type': 'multipart/form-data; boundary=x' }, 415],
    ['plain text', { 'content-type': 'Text/Plain;charset=UTF-8' }, 415],
    ['a page of somebody else', { origin: 'https://evil.example' }, 403],
    ['a sandboxed page', { origin: 'null' }, 403],
    ['a name that somebody bound to this address', { host: 'evil.example:9669' }, 403],
  ])('%s is refused before the session is looked at', async (_name, headers: Record<string, string>, status) => {
    expect((await one.admin.call('POST', '/vpgSettings', { text: '{}', headers })).status).toBe(status);
  });

  it('the own page, the address and the names in the certificate are served', async () => {
    const { host } = new URL(one.admin.baseUrl);
    for (const headers of [{ origin: `https://${host}` }, { host }, { host: 'localhost' }, { 'content-type': 'application/json; charset=utf-8' }]) {
      expect((await one.admin.call('POST', '/vpgSettings', { text: '{}', headers: headers as Record<string, string> })).status).toBe(200);
    }
  });

  it('nobody is told that other origins may read', async () => {
    const preflight = await one.admin.call('OPTIONS', '/vpgs', { headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-zerto-session' } });
    const read = await one.admin.call('GET', '/vpgs', { headers: { origin: 'https://evil.example' } });
    for (const { headers } of [preflight, read]) expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });
});

it('every answer, also a refusal, forbids caches, frames and scripts', async () => {
  for (const path of ['/vpgs', '/', '/vpgs/x', '/users?x=%zz', '/openapi.json']) {
    const { headers } = await one.admin.call('GET', path);
    expect(headers).toMatchObject({
      'cache-control': 'no-store', 'content-security-policy': "default-src 'none';frame-ancestors 'none';base-uri 'none';form-action 'none'", 'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY', 'strict-transport-security': 'max-age=15552000', 'referrer-policy': 'no-referrer', 'cross-origin-resource-policy': 'same-origin',
    });
    expect(headers['x-powered-by']).toBeUndefined();
  }
});

it('who connects to 9669 or 9080 and says nothing pushes out himself, and everybody else is served', async () => {
  await Promise.all([Number(new URL(one.admin.baseUrl).port), one.site.config.internalPort].map(comeAndSayNothing));
});

async function comeAndSayNothing(port: number): Promise<void> {
  const silent = await Promise.all(Array.from({ length: 80 }, async () => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.9' }).on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
    return socket;
  }));
  const pushedOut = (): number => silent.filter(({ closed }) => closed).length;
  while (pushedOut() < 80 - 64) await Promise.race(silent.filter(({ closed }) => !closed).map((socket) => new Promise((resolve) => socket.resume().once('close', resolve))));
  expect((await one.admin.call('GET', '/session')).status).toBe(200);
  await Promise.all(silent.filter(({ closed }) => !closed).map((socket) => new Promise((resolve) => socket.resume().once('close', resolve)))); // the handshake took too long
}

it('too many calls of a session, then of an address, are told when to come again', async () => {
  const client = await one.site.client();
  let answer = await client.call('GET', '/session');
  for (let calls = 1; answer.status === 200 && calls < CALLS + 10; calls += 1) answer = await client.call('GET', '/session');
  expect({ status: answer.status, text: answer.text }).toEqual({ status: 429, text: expect.stringContaining(`more than ${CALLS} calls a minute in this session`) });
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  const stranger = new RestClient(one.admin.baseUrl, '');
  for (let calls = 0; calls < 2 * CALLS && answer.text.includes('session'); calls += 1) answer = await stranger.call('GET', '/session');
  expect({ status: answer.status, text: answer.text }).toEqual({ status: 429, text: expect.stringContaining('from this address') });
  expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(1);
});
