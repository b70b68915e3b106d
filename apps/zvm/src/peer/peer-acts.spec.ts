import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ControlBus } from '@tidemark/nest';
import { randomUUID } from 'node:crypto';
import { ActAudit } from '../audit/act-audit.js';
import type { AuditDraft, AuditLog } from '../audit/audit-log.js';
import { type AuditNote, currentNote } from '../audit/audit-note.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import { forbidden, ZvmError } from '../errors.js';
import type { Database } from '../persistence/database.js';
import { SITE_A, SITE_B, vpgDefinition, vpgRecord } from '../testing/factories.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { PeerResponder } from './peer-responder.js';
import type { PeerStore } from './peer.store.js';

type Answer = (message: object, subject: string) => Promise<unknown>;

/** They change nothing here, or only this site's copy of what the other one lists. Whoever adds a topic to them says why. */
const WITHOUT_ENTRY: readonly string[] = ['inventory.get', 'catalogue.put'];

const definition = vpgDefinition({ recoverySiteId: SITE_B });
const { vpgId } = definition;
const before = vpgRecord({ definition, generation: 4 });
const after = vpgRecord({ definition, generation: 5, state: 'failingOver' });
const task = (): object => ({ taskId: `${SITE_B}.${randomUUID()}`, initiatedBy: 'ann' });
const CARD = { siteId: SITE_B, name: 'North', location: '', version: '0.1.0', address: 'b.example', port: 9081 };

/** Of a topic that is not among them the body is empty: its entry is expected all the same. */
const BODIES: Readonly<Record<string, () => object>> = {
  'pairing.redeem': () => ({ secret: 'TELLNOBODY', site: CARD, caPem: ['pem'], natsPublicKey: 'UKEY' }),
  'pairing.confirm': () => ({ userJwt: 'TELLNOBODY' }),
  'pairing.seal': () => ({}),
  'peer.unpair': () => ({ isTargetKept: true }),
  'trust.renew': () => ({ caPem: ['pem'], voided: [], natsPublicKey: 'UKEY' }),
  'vpg.put': () => ({ record: after }),
  'vpg.act': () => ({ action: 'delete', vpgId, input: { Force: true }, ...task() }),
  'vpg.takeReverse': () => ({ record: after, ...task() }),
  'checkpoint.insert': () => ({ vpgId, tag: 'before the update' }),
  'vpg.settle': () => ({ vpgId, checkpointId: 7 }),
  'vpg.forceSync': () => ({ vpgId }),
  'vm.power': () => ({ vpgId, vmIds: ['vm1'], action: 'forceOff' }),
};

describe('what a paired site asks for has an entry in the audit', () => {
  let now: number;
  let entries: AuditDraft[];
  let order: string[];
  let isBegun: boolean;
  let isKept: boolean;
  let isPaired: boolean;
  let record: VpgRecord;
  let refusal: Error | undefined;
  let answers: Map<string, Answer>;
  let notes: { readonly during: AuditNote | undefined; readonly later: Promise<AuditNote | undefined> } | undefined;

  beforeEach(() => {
    [order, isBegun] = [[], true];
    [now, entries, isKept, isPaired, record, refusal, answers] = [0, [], true, true, before, undefined, new Map<string, Answer>()];
    const bus = { respond: (subject: string, _type: unknown, handle: Answer) => answers.set(subject.split('.control.')[1] ?? '', handle) } as unknown as ControlBus;
    const peer = { ...CARD, state: 'paired' };
    const peers = { find: () => (isPaired ? peer : undefined), get: () => peer } as unknown as PeerStore;
    const log = {
      begin: async ({ action }: AuditDraft) => {
        if (!isBegun) throw new ZvmError('ZVM_DATABASE_DOWN', 'nothing was done: no disk');
        order.push(`begin ${action}`);
        return action;
      },
      withdraw: (id: string) => void order.push(`withdraw ${id}`),
      append: async (draft: AuditDraft, begunId?: string) => {
        if (!isKept) throw new Error('no disk');
        order.push(`entry of ${begunId ?? 'nothing begun'}`);
        entries.push(draft);
      },
    } as unknown as AuditLog;
    const does = async (): Promise<object> => {
      if (refusal) throw refusal;
      order.push('done');
      notes = { during: currentNote(), later: new Promise((resolve) => setImmediate(resolve)).then(() => currentNote()) };
      return {};
    };
    const service = new Proxy({}, { get: () => does }) as never;
    const protectedSite = new Proxy({ put: async (next: VpgRecord) => void (next !== record && (await currentNote()?.begin(), order.push('done'), (record = next))) }, { get: (own, name) => (name === 'put' ? own.put : does) }) as never;
    const acceptance = { redeem: does, confirm: does, seal: does } as never;
    new PeerResponder(
      bus, { siteId: SITE_A, siteName: 'South' } as ZvmConfig, { assertLoaded: () => undefined } as unknown as Database, peers, service, acceptance, service, service, { find: () => record } as never,
      protectedSite, service, new ActAudit(log, { monotonicMs: () => now } as Clock), service,
    ).onModuleInit();
  });

  const ask = async (topic: string, body: object = BODIES[topic]?.() ?? {}): Promise<unknown> => {
    const speaker = topic === 'pairing.redeem' ? 'pairing-token1' : `peer-${SITE_B}`;
    return await answers.get(topic)?.(body, `tidemark.v1.${SITE_A}.zvm.${speaker}.control.${topic}`).catch((error: unknown) => error);
  };
  const recorded = (): string[] => [...answers.keys()].filter((topic) => !WITHOUT_ENTRY.includes(topic));

  it('each topic, done: who, what, of which VPG, and no secret', async () => {
    expect(recorded().sort()).toEqual(Object.keys(BODIES).sort());
    for (const topic of recorded()) {
      entries = [];
      await ask(topic);
      expect(entries).toEqual([expect.objectContaining({ action: `peer ${topic}`, method: 'Peer', subject: SITE_B, user: expect.stringMatching(/^site North(: ann)?$/), result: 'Done' })]);
      const isOfVpg = /"vpgId"/.test(JSON.stringify(BODIES[topic]?.()));
      expect([topic, entries[0]?.entities]).toEqual([topic, expect.arrayContaining([`site:${SITE_B}`, ...(isOfVpg ? [`vpg:${vpgId}`] : [])])]);
      expect(JSON.stringify(entries)).not.toContain('TELLNOBODY');
    }
  });

  it('each topic, refused: also when nobody is paired any more', async () => {
    isPaired = false;
    refusal = forbidden('this token was used already');
    for (const topic of recorded()) {
      entries = [];
      await ask(topic);
      const expected = topic === 'pairing.redeem' ? { method: 'Unknown', subject: null, message: 'this token was used already' } : { method: 'Peer', subject: SITE_B, message: expect.stringContaining('not paired') };
      expect(entries).toEqual([expect.objectContaining({ ...expected, action: `peer ${topic}`, result: 'Refused' })]);
    }
  });

  it('each topic is begun, durably, before it is done: nothing is done that cannot be', async () => {
    for (const topic of recorded().filter((each) => each !== 'trust.renew')) {
      order = [];
      record = before;
      await ask(topic);
      expect(order).toEqual([`begin peer ${topic}`, 'done', `entry of peer ${topic}`]);
    }
    [order, isBegun, record] = [[], false, before];
    for (const topic of recorded().filter((each) => each !== 'trust.renew')) expect(await ask(topic)).toMatchObject({ code: 'ZVM_DATABASE_DOWN', message: 'nothing was done: no disk' });
    expect([order.includes('done'), record]).toEqual([false, before]);
  });

  it('what failed for this site\'s own reasons is told apart', async () => {
    refusal = new ZvmError('ZVM_HYPERVISOR_DOWN', 'the hypervisor does not answer');
    await ask('vm.power');
    expect(entries).toEqual([expect.objectContaining({ result: 'Failed', message: 'the hypervisor does not answer', input: { vpgId, vmIds: ['vm1'], action: 'forceOff' } })]);
  });

  it('a record that is put again each second has one, with what it changed', async () => {
    await ask('vpg.put');
    order = [];
    for (let second = 0; second < 5; second += 1) await ask('vpg.put', { record });
    expect(entries).toHaveLength(1);
    // Each would be a write that waits for the disk.
    expect(order).toEqual([]);
    expect(entries[0]?.changes).toEqual(expect.arrayContaining([{ path: 'generation', before: 4, after: 5 }, { path: 'state', before: 'protecting', after: 'failingOver' }]));
  });

  it('refusals fill nothing, and the next entry says how many there were; those of one kind hide none of another', async () => {
    refusal = forbidden('no');
    for (let n = 0; n < 500; n += 1) await ask('vpg.forceSync');
    expect(entries).toHaveLength(30);
    await ask('vm.power');
    expect(entries.at(-1)).toMatchObject({ action: 'peer vm.power', message: 'no' });
    now += 120_000;
    await ask('vpg.forceSync');
    expect(entries.at(-1)).toMatchObject({ action: 'peer vpg.forceSync', message: 'no; 470 more of the kind before this one have no entry of their own' });
  });

  it('nothing is answered as done that cannot be recorded; a refusal stays one', async () => {
    isKept = false;
    expect(await ask('vpg.forceSync')).toMatchObject({ code: 'ZVM_DATABASE_DOWN', message: expect.stringMatching(/it was done, but the audit could not record it: no disk/) });
    refusal = forbidden('no');
    expect(await ask('vpg.forceSync')).toBe(refusal);
  });

  it('what goes on after the answer belongs to no request', async () => {
    await ask('vpg.forceSync');
    expect([notes?.during, await notes?.later]).toEqual([expect.anything(), undefined]);
  });
});
