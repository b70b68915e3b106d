import { afterEach, expect, it } from '@jest/globals';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import type { EventService } from '../event/event.service.js';
import type { Database } from '../persistence/database.js';
import type { ChainedEntry } from './audit-entry.js';
import { type AuditDraft, type AuditLog, SYSTEM } from './audit-log.js';
import type { AuditStore } from './audit.store.js';
import { SyslogService } from './syslog.service.js';

const CALLER = { name: 'ann', method: 'Password', sessionId: 's', tokenId: null, subject: null } as const;

let server: Server;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

it('a collector that hangs is left after ten seconds', async () => {
  server = createServer((socket) => void sockets.push(socket.on('error', () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const target = { protocol: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port, caPem: null } as const;
  const [rows, entries, events] = [new Map<string, unknown>([['syslog', target]]), [] as ChainedEntry[], [] as string[]];
  const db = {
    findOneBy: async (_entity: unknown, { section }: { section: string }) => (rows.has(section) ? { section, content: rows.get(section) } : null),
    upsert: async (_entity: unknown, { section, content }: { section: string; content: unknown }) => rows.set(section, content),
    delete: async (_entity: unknown, { section }: { section: string }) => rows.delete(section),
  };
  const add = (draft: AuditDraft): void => void entries.push({ seq: entries.length + 1, hash: '', entry: { ...draft, id: `${entries.length}`, atMs: 0 } });
  add({ ...SYSTEM, action: 'before', entities: [], result: 'Done', message: null });
  const store = {
    lastSeq: async () => entries.length, waiting: async () => ({ oldestAtMs: null, count: 0 }),
    walk: async function* (_filter: unknown, after: number) {
      yield* await Promise.resolve(entries.slice(after));
    },
  } as unknown as AuditStore;
  // Each look is three seconds later than the one before.
  let now = 0;
  const clock = { nowMs: () => 0, monotonicMs: () => (now += 3000) } as Clock;
  const syslog = new SyslogService(
    store, { isReady: true, use: async (work: (manager: unknown) => unknown) => await work(db) } as unknown as Database, clock, { append: async (draft: AuditDraft) => add(draft) } as unknown as AuditLog,
    { record: async ({ description }: { description: string }) => void events.push(description) } as unknown as EventService, { hostName: 'h' } as ZvmConfig,
  );
  expect(await syslog.set(null, CALLER)).toEqual({ before: target, notDelivered: 2 });
  expect([now > 10_000 && now < 20_000, rows.has('syslog')]).toEqual([true, false]);
  expect(entries.at(-1)?.entry).toMatchObject({ user: 'ann', action: 'syslog.leaving', message: expect.stringMatching(/up to here, then to nowhere$/) });
  expect(events).toEqual([`2 audit entries did not reach tcp://127.0.0.1:${target.port} before it was left`]);
  for (const socket of sockets) socket.destroy();
  await syslog.onApplicationShutdown();
});
