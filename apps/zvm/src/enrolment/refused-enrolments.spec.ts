import { expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { EnrolmentV1 } from '@tidemark/contracts';
import type { ActAudit } from '../audit/act-audit.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import type { EventService } from '../event/event.service.js';
import { Enrolment } from './enrolment.service.js';

it('strangers who are refused without end make a bounded number of events, and the next one says how many had none; each is left to the audit', async () => {
  Logger.overrideLogger(false);
  let [nowMs, audited] = [0, 0];
  const told: string[] = [];
  const unused = undefined as never;
  const audit = {
    record: async (_act: object, work: () => Promise<object>) => {
      audited += 1;
      return await work();
    },
  } as unknown as ActAudit;
  const events = { record: async ({ description }: { readonly description: string }) => void told.push(description) } as unknown as EventService;
  const enrolment = new Enrolment(unused, unused, unused, unused, events, unused, unused, audit, { siteId: 'site' } as ZvmConfig, { monotonicMs: () => nowMs } as Clock);
  const asked: EnrolmentV1 = { token: 'x', role: 'vra', instanceId: '7', hostId: 'h', certificateRequest: '', natsPublicKey: '' };
  const strangers = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 1) await expect(enrolment.redeem(asked, `10.0.${n >> 8}.${n & 255}`)).rejects.toThrow();
  };
  await strangers(500);
  expect([told.length, audited]).toEqual([30, 500]);
  nowMs += 600_000;
  await strangers(3);
  expect(told).toHaveLength(31);
  expect(told.at(-1)).toMatch(/^470 enrolments were refused without an event of their own .*; now enrolment as vra 7 on host h was refused to 10\.0\.0\.0/);
});
