import { expect, it } from '@jest/globals';
import type { ControlBus } from '@tidemark/nest';
import type { ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
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
  new PeerResponder(bus, config, database, new PeerStore(database, unused), unused, unused, unused, unused, unused, unused, unused).onModuleInit();
  expect(answers.size).toBeGreaterThan(10);
  for (const [subject, answer] of answers) expect([subject, await answer({}, subject).catch((error: unknown) => error)]).toEqual([subject, expect.objectContaining({ code: 'ZVM_DATABASE_DOWN' })]);
});
