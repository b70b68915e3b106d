import { expect, it } from '@jest/globals';
import type { AuditLog } from '../audit/audit-log.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import { SITE_A, SITE_B } from '../testing/factories.js';
import { PairingAcceptance } from './pairing-acceptance.service.js';

it('a site that stopped half-way is let go of, and the audit says so: nobody of this site asked for it', async () => {
  const done: unknown[] = [];
  const site = { siteId: SITE_B, name: 'North', state: 'pairing', pairedAtMs: 0 };
  const fresh = { ...site, siteId: SITE_A, pairedAtMs: 600_000 };
  const unused = undefined as never;
  let recorded: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => (recorded = resolve));
  const audit = { recordOwn: async (act: object, work: () => Promise<object>) => void (done.push(act, await work()), recorded()) } as unknown as AuditLog;
  const acceptance = new PairingAcceptance(
    { close: async () => undefined } as never, unused, { isLoaded: true, all: () => [site, fresh] } as never, { tokenText: () => 'token1', dropToken: async () => undefined } as never, unused,
    { shutOut: async (siteId: string) => void done.push(siteId) } as never, { inputsOf: () => [] } as never, { nowMs: () => 600_001 } as Clock, unused, audit, {} as ZvmConfig,
  );
  acceptance.onApplicationBootstrap();
  await ended;
  await acceptance.onApplicationShutdown();
  expect(done).toEqual([SITE_B, expect.objectContaining({ action: 'pairing.letGo', entities: [`site:${SITE_B}`], message: expect.stringContaining('North') }), {}]);
});
