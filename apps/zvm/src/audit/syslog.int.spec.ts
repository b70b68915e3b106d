import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { freePort } from '@tidemark/nest/testing';
import { issueLeaf, newCa } from '../testing/test-ca.js';
import { createSocket } from 'node:dgram';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { type OneSite, openSite } from '../testing/one-site.js';
import { eventually } from '../testing/test-site.js';
import type { ChainedEntry } from './audit-entry.js';
import { SYSTEM } from './audit-log.js';
import { syslogMessage } from './syslog-message.js';

let one: OneSite;
let server: Server | undefined;

beforeAll(async () => {
  one = await openSite({ TIDEMARK_SYSLOG_ALERT_SECONDS: '2' });
}, 60_000);
afterAll(() => one.close());
afterEach(async () => {
  await one.admin.ok('DELETE', '/localsite/settings/syslog');
  await stop();
});

const stop = (): Promise<void> => new Promise((resolve) => {
  if (!server) return resolve();
  server.close(() => resolve());
  server = undefined;
});

const MESSAGE = /^<(108|109)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ tidemark-zvm - audit \[tidemark@32473 seq="(\d+)" hash="([0-9a-f]{64})"(?: \w+="(?:[^"\\\]]|\\["\\\]])*")*\] \ufeff.+$/u;

/** Reads octet-counted messages, as a collector does, and closes when nothing more comes. */
function collect(into: string[], socket: Socket, { dieAfterBytes = Infinity } = {}): void {
  let bytes = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length > dieAfterBytes) return void socket.resetAndDestroy();
    for (;;) {
      const space = bytes.indexOf(' ');
      const length = Number(bytes.subarray(0, space).toString());
      if (space < 1 || bytes.length < space + 1 + length) return;
      into.push(bytes.subarray(space + 1, space + 1 + length).toString('utf8'));
      bytes = bytes.subarray(space + 1 + length);
    }
  });
}

const listenTcp = async (port: number, into: string[], options = {}): Promise<void> => {
  server = createServer((socket) => collect(into, socket, options));
  await new Promise<void>((resolve) => server?.listen(port, '127.0.0.1', resolve));
};
const seqs = (messages: readonly string[]): number[] => messages.map((message) => Number(MESSAGE.exec(message)?.[2] ?? message));
const act = (name: string): Promise<string> => one.admin.ok('POST', '/vpgSettings', { Basic: { Name: name } });
const lastSeq = async (): Promise<number> => (await one.admin.ok<{ Sequence: number }[]>('GET', '/audit?limit=1'))[0]?.Sequence ?? 0;
const settled = (messages: readonly string[]): Promise<true> => eventually('all entries at the collector', async () => seqs(messages).at(-1) === (await lastSeq()));

describe('the audit at a syslog collector', () => {
  it('arrives over TCP from the first entry on; a collector that was down, or died in the middle, misses nothing', async () => {
    const port = await freePort();
    const first: string[] = [];
    await listenTcp(port, first);
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tcp', Host: '127.0.0.1', Port: port });
    await settled(first);
    expect(seqs(first)).toEqual(first.map((_, index) => index + 1));
    await stop();
    for (let n = 0; n < 5; n += 1) await act(`while it was down ${n}`);
    await eventually('the problem is told', async () => ((await one.admin.ok<{ Problem: string | null }>('GET', '/localsite/settings/syslog')).Problem ?? '').includes('ECONNREFUSED'));
    const dying: string[] = [];
    await listenTcp(port, dying, { dieAfterBytes: 300 });
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await stop();
    const second: string[] = [];
    await listenTcp(port, second);
    await settled(second);
    const got = new Set([...seqs(first), ...seqs(second)]);
    expect([...got].sort((a, b) => a - b)).toEqual(Array.from({ length: got.size }, (_, index) => index + 1));
    expect(await one.admin.ok('GET', '/localsite/settings/syslog')).toMatchObject({ Protocol: 1, Port: port, DeliveredSequence: seqs(second).at(-1), Problem: null });
  });

  it('raises TDM0013 while entries wait and are not taken, and clears it when they are', async () => {
    const isOn = async (): Promise<boolean> => (await one.admin.ok<{ HelpIdentifier: string }[]>('GET', '/alerts')).some(({ HelpIdentifier }) => HelpIdentifier === 'TDM0013');
    const port = await freePort();
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tcp', Host: '127.0.0.1', Port: port });
    await eventually('the alert', isOn, 60_000);
    const messages: string[] = [];
    await listenTcp(port, messages);
    await settled(messages);
    await eventually('it clears', async () => !(await isOn()), 60_000);
  });

  it('goes on after a restart of the ZVM where it was', async () => {
    const port = await freePort();
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tcp', Host: '127.0.0.1', Port: port });
    const from = await lastSeq();
    await one.site.stopZvm();
    const messages: string[] = [];
    await listenTcp(port, messages);
    await one.site.startZvm();
    one = { ...one, admin: await one.site.client() };
    await settled(messages);
    expect(seqs(messages)).toContain(from);
    expect(seqs(messages)).toEqual(messages.map((_, index) => (seqs(messages)[0] ?? 0) + index));
  });

  it('who leaves a collector cannot keep that from it: it gets all that waits, up to the entry that says so, and nothing after', async () => {
    const [port, next] = [await freePort(), await freePort()];
    const messages: string[] = [];
    await listenTcp(port, messages);
    const toNext = { Protocol: 'tcp', Host: '127.0.0.1', Port: next };
    await one.admin.ok('PUT', '/localsite/settings/syslog', { ...toNext, Port: port });
    await act('hidden?');
    expect(await one.admin.ok('PUT', '/localsite/settings/syslog', toNext)).toEqual({ NotDelivered: 0 });
    expect(messages.at(-1)).toMatch(/user="admin" method="Password" action="syslog\.leaving".*changes="port".*forwarded to tcp:.* up to here, then to tcp:/);
    expect(messages.at(-2)).toContain('action="POST /vpgSettings"');
    const count = messages.length;
    await stop();
    const second: string[] = [];
    await listenTcp(next, second);
    await settled(second);
    expect([messages.length, seqs(second)[0], second[0]]).toEqual([count, (seqs(messages).at(-1) ?? 0) + 1, expect.stringContaining('action="PUT /localsite/settings/syslog"')]);
  });

  it('one that has not taken anything is left after one more try, and answer and event say what it lacks', async () => {
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tcp', Host: '127.0.0.1', Port: await freePort() });
    await eventually('the problem is told', async () => (await one.admin.ok<{ Problem: string | null }>('GET', '/localsite/settings/syslog')).Problem !== null);
    const { NotDelivered } = await one.admin.ok<{ NotDelivered: number }>('DELETE', '/localsite/settings/syslog');
    expect(NotDelivered).toBeGreaterThanOrEqual(2);
    const events = await one.admin.ok<{ Description: string }[]>('GET', '/events');
    expect(events.map(({ Description }) => Description)).toContainEqual(expect.stringMatching(new RegExp(`^${NotDelivered} audit entries did not reach tcp://127`)));
  });

  it('arrives over TLS at the collector whose CA is known, and at no other', async () => {
    const [ca, otherCa] = [await newCa('collector'), await newCa('other')];
    const leaf = await issueLeaf(ca, '127.0.0.1');
    const messages: string[] = [];
    server = createTlsServer({ key: leaf.key, cert: leaf.cert }, (socket) => collect(messages, socket));
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tls', Host: '127.0.0.1', Port: port, CaPem: otherCa.cert });
    await eventually('the refusal', async () => (await one.admin.ok<{ Problem: string | null }>('GET', '/localsite/settings/syslog')).Problem !== null);
    expect(messages).toEqual([]);
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'tls', Host: '127.0.0.1', Port: port, CaPem: ca.cert });
    await settled(messages);
    expect(await one.admin.refused(400, 'PUT', '/localsite/settings/syslog', { Protocol: 'tls', Host: 'x', CaPem: 'no certificate' })).toContain('CaPem');
  });

  it('arrives over UDP', async () => {
    const messages: string[] = [];
    const socket = createSocket('udp4', (message) => messages.push(message.toString('utf8')));
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    await one.admin.ok('PUT', '/localsite/settings/syslog', { Protocol: 'udp', Host: '127.0.0.1', Port: socket.address().port });
    await act('over UDP');
    await settled(messages);
    expect(messages.at(-1)).toContain('action="POST /vpgSettings"');
    socket.close();
  });
});

it('hostile names end neither the structured data nor the line', () => {
  const chained: ChainedEntry = {
    seq: 7, hash: 'a'.repeat(64),
    entry: { ...SYSTEM, id: 'x', atMs: 0, user: 'a"] [evil@1 x="\\', action: 'line\nfeed\u001b[31m', entities: [], result: 'Refused', message: 'ümlaut' },
  };
  const text = syslogMessage(chained, 'host name').toString('utf8');
  expect(MESSAGE.exec(text)?.slice(1, 3)).toEqual(['108', '7']);
  expect(text).toContain('user="a\\"\\] [evil@1 x=\\"\\\\"');
  expect(text).not.toMatch(/\n|\u001b/);
});
