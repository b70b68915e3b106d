import { describe, expect, it } from '@jest/globals';
import type { ControlBus } from '@tidemark/nest';
import { randomUUID } from 'node:crypto';
import type { ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { SITE_A, SITE_B, vpgDefinition, vpgRecord } from '../testing/factories.js';
import { PeerResponder } from './peer-responder.js';
import { PeerStore } from './peer.store.js';

type Answer = (message: object, subject: string) => Promise<unknown>;

/** Seen on a loaded machine: a site that came back answered "not paired" before it had read its pairings, and reverse protection was given up for good. */
it('a ZVM that has not read its database yet says so to whoever asks, and nothing about what it knows', async () => {
  const answers = new Map<string, Answer>();
  const bus = { respond: (subject: string, _type: unknown, handle: Answer) => answers.set(subject, handle) } as unknown as ControlBus;
  const config = { siteId: 'f43245bd-e433-477b-860a-1417b2dfc6e0' } as ZvmConfig;
  const database = new Database(config);
  const unused = undefined as never;
  new PeerResponder(bus, config, database, new PeerStore(database, unused), unused, unused, unused, unused, unused, unused, unused, unused, unused).onModuleInit();
  expect(answers.size).toBeGreaterThan(10);
  for (const [subject, answer] of answers) expect([subject, await answer({}, subject).catch((error: unknown) => error)]).toEqual([subject, expect.objectContaining({ code: 'ZVM_DATABASE_DOWN' })]);
});

describe('a paired site that asks for a task', () => {
  const asked: { taskId?: string; initiatedBy?: string }[] = [];
  const answers = new Map<string, Answer>();
  const bus = { respond: (subject: string, _type: unknown, handle: Answer) => answers.set(subject.split('.control.')[1] ?? '', handle) } as unknown as ControlBus;
  const peer = { siteId: SITE_B, name: 'North', state: 'paired' };
  const handed = vpgRecord({ definition: vpgDefinition({ recoverySiteId: SITE_B }) });
  const actions = { run: async (request: object) => void asked.push(request), takeReverse: async (_record: unknown, request: object) => void asked.push(request) };
  const unused = undefined as never;
  new PeerResponder(
    bus, { siteId: SITE_A, siteName: 'South' } as ZvmConfig, { assertLoaded: () => undefined } as Database, { find: () => peer, get: () => peer } as unknown as PeerStore, unused, unused, unused, unused,
    { find: () => handed } as never, unused, actions as never, { record: async (_act: unknown, work: () => Promise<unknown>) => await work() } as never, unused,
  ).onModuleInit();
  const ask = async (topic: string, message: object): Promise<unknown> =>
    await answers.get(topic)?.({ action: 'delete', vpgId: handed.definition.vpgId, input: {}, record: handed, ...message }, `tidemark.v1.${SITE_A}.zvm.peer-${SITE_B}.control.${topic}`).catch((error: unknown) => error);

  /** With an id that begins with this site's, it was recorded as asked for here, by whichever user it named. */
  it.each(['vpg.act', 'vpg.takeReverse'])('%s: makes ids for tasks of its own, and its users are users there', async (topic) => {
    asked.length = 0;
    for (const taskId of [`${SITE_A}.${randomUUID()}`, 't', `${SITE_B}.t`, `${SITE_B}.${randomUUID()}\n`, `${SITE_B}x.${randomUUID()}`]) {
      expect([taskId, await ask(topic, { taskId, initiatedBy: 'admin' })]).toEqual([taskId, expect.objectContaining({ code: 'ZVM_INVALID' })]);
    }
    expect(asked).toEqual([]);
    const taskId = `${SITE_B}.${randomUUID()}`;
    await ask(topic, { taskId, initiatedBy: 'admin\nroot' });
    expect(asked).toEqual([expect.objectContaining({ taskId, initiatedBy: 'site North: admin root' })]);
  });
});
