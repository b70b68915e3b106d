import { describe, expect, it } from '@jest/globals';
import type { Clock } from '../clock.js';
import type { UserStore } from '../user/user.store.js';
import { waitMsAfter, type Lockout } from './lockout.js';
import { SessionService } from './session.service.js';
import type { LiveSession, SessionRecord, SessionStore } from './session.store.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** As PostgreSQL keeps it: by hash, touched only while it lives. */
function sessions(): { readonly service: SessionService; readonly kept: Map<string, SessionRecord>; at: (nowMs: number) => void } {
  let nowMs = 0;
  const kept = new Map<string, SessionRecord>();
  const store = {
    removeEnded: async () => undefined,
    add: async (hash: string, session: SessionRecord) => void kept.set(hash, session),
    list: async () => [...kept.values()],
    touch: async (hash: string, { at, usedAfter }: { readonly at: Date; readonly usedAfter: Date }) => {
      const session = kept.get(hash);
      if (!session || session.usedAtMs <= usedAfter.getTime() || session.expiresAtMs <= at.getTime()) return undefined;
      kept.set(hash, { ...session, usedAtMs: at.getTime() });
      return { ...session, roles: [], isPasswordToBeChanged: false } as unknown as LiveSession;
    },
  } as unknown as SessionStore;
  const service = new SessionService(store, undefined as unknown as UserStore, undefined as unknown as Lockout, { nowMs: () => nowMs } as Clock);
  return { service, kept, at: (ms) => void (nowMs = ms) };
}

const open = async (service: SessionService): Promise<string> =>
  (await service.open({ userId: 'u', userName: 'ann', roles: [], isPasswordToBeChanged: false, subject: null }, { address: '127.0.0.1', client: '' })).token;

describe('a session', () => {
  it('ends 30 minutes after it was used last', async () => {
    const { service, at } = sessions();
    const token = await open(service);
    at(29 * MINUTE_MS);
    await service.callerOf(token);
    at(58 * MINUTE_MS);
    await service.callerOf(token);
    expect(await service.list()).toHaveLength(1);
    at(88 * MINUTE_MS);
    expect(await service.list()).toEqual([]);
    await expect(service.callerOf(token)).rejects.toMatchObject({ code: 'ZVM_UNAUTHORIZED' });
  });

  it('ends 12 hours after it began, however busy it is', async () => {
    const { service, at } = sessions();
    const token = await open(service);
    for (let ms = 20 * MINUTE_MS; ms < 12 * HOUR_MS; ms += 20 * MINUTE_MS) {
      at(ms);
      await service.callerOf(token);
    }
    at(12 * HOUR_MS);
    await expect(service.callerOf(token)).rejects.toMatchObject({ code: 'ZVM_UNAUTHORIZED' });
  });

  it('is not kept by what opens it', async () => {
    const { service, kept } = sessions();
    const token = await open(service);
    expect(JSON.stringify([...kept])).not.toContain(token);
  });
});

it('failed log-ins wait, doubling to 15 minutes', () => {
  const waits = Array.from({ length: 40 }, (_, failures) => waitMsAfter('pair', failures));
  expect(waits.slice(0, 8)).toEqual([0, 0, 0, 0, 0, 1000, 2000, 4000]);
  expect(waits.slice(5, 15).every((wait, index) => wait === 1000 * 2 ** index)).toBe(true);
  expect(waits.slice(15)).toEqual(Array.from({ length: 25 }, () => 15 * MINUTE_MS));
  expect([waitMsAfter('user', 19), waitMsAfter('user', 20), waitMsAfter('address', 49), waitMsAfter('address', 50), waitMsAfter('address', 10_000)]).toEqual([0, 1000, 0, 1000, 15 * MINUTE_MS]);
});
