import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { credentials, makeNatsKey, NatsAuthority } from '@tidemark/trust';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ZvmConfig } from '../config.js';
import { SITE_A, SITE_B } from '../testing/factories.js';
import { temporaryFolder } from '../testing/servers.js';
import { PeerKeys } from './peer-keys.js';

let folder: string;
beforeAll(async () => {
  folder = await temporaryFolder('peer-keys');
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

it('a user of another key, or none, that a paired site grants does not replace the one that works, and is asked for again', async () => {
  const authority = await NatsAuthority.openOrMake(join(folder, 'authority'), { siteId: SITE_B, siteName: 'b' });
  const jwtOf = async (publicKey: string): Promise<string> =>
    await authority.user(publicKey, { name: 'a', publish: ['x'], subscribe: ['y'], listener: 'websocket', notAfterMs: Date.now() + 60_000, payloadBytesMax: 1024, subscriptionsMax: 1 });
  const keys = new PeerKeys({ stateDir: folder } as ZvmConfig);
  const first = await keys.nextKey(SITE_B);
  await keys.grant(SITE_B, await jwtOf(first.publicKey));
  const working = keys.credentials(SITE_B);
  const next = await keys.nextKey(SITE_B);
  for (const useless of ['', 'a.b.c', 'x'.repeat(8000), await jwtOf(makeNatsKey().publicKey), `${await jwtOf(next.publicKey)}x`]) {
    await expect(keys.grant(SITE_B, useless)).rejects.toMatchObject({ code: 'TRUST_CERTIFICATE', message: expect.stringContaining(`what site ${SITE_B} grants`) as unknown });
  }
  const again = new PeerKeys({ stateDir: folder } as ZvmConfig);
  await again.load();
  expect([keys.credentials(SITE_B), again.credentials(SITE_B), await again.nextKey(SITE_B)]).toEqual([working, working, next]);
  const jwt = await jwtOf(next.publicKey);
  await keys.grant(SITE_B, jwt);
  expect(keys.credentials(SITE_B)).toBe(credentials(jwt, next.seed));
  expect(keys.credentials(SITE_A)).toBe('');
});
