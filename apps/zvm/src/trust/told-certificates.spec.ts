import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { fingerprint } from '@tidemark/trust';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditChange } from '../audit/audit-entry.js';
import type { AuditLog, OwnAct } from '../audit/audit-log.js';
import type { ZvmConfig } from '../config.js';
import type { EventService } from '../event/event.service.js';
import type { RestCertificate } from './rest-certificate.js';
import { type OwnRole, SiteTrust } from './site-trust.js';
import { TrustService } from './trust.service.js';

const DAY_MS = 24 * 3_600_000;
Logger.overrideLogger(false);

/** A site that `zvm init` has made. */
let made: string;
let folder: string;
let config: ZvmConfig;
let nowMs: number;
/** What is safe, whoever was killed. */
let entries: OwnAct[];

const configIn = (stateDir: string): ZvmConfig => ({
  siteId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', siteName: 'North', stateDir, address: '127.0.0.1', restHost: '127.0.0.1', natsUrl: 'tls://127.0.0.1:1', natsPeerPort: 1, natsPidFile: join(stateDir, 'nats.pid'),
} as ZvmConfig);

beforeAll(async () => {
  nowMs = Date.parse('2026-11-22T12:00:00Z');
  made = await mkdtemp(join(tmpdir(), 'tidemark-told-'));
  await SiteTrust.open(configIn(made), () => nowMs);
}, 120_000);
afterAll(() => rm(made, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-told-'));
  await cp(made, folder, { recursive: true, verbatimSymlinks: true });
  nowMs = Date.parse('2026-11-22T12:00:00Z');
  entries = [];
  config = configIn(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Where the process is killed: before its first entry is safe, or behind it and before anything else. */
type Killed = 'beforeEntry' | 'afterEntry' | 'never' | 'nothingTaken';

interface Life {
  readonly trust: SiteTrust;
  readonly service: TrustService;
}

async function start(killed: Killed = 'never'): Promise<Life> {
  const trust = await SiteTrust.open(config, () => nowMs);
  const never = new Promise<never>(() => undefined);
  const append = async (part: OwnAct): Promise<boolean> => {
    if (killed === 'beforeEntry') return await never;
    if (killed === 'nothingTaken') return false;
    entries.push(part);
    return killed === 'afterEntry' ? await never : true;
  };
  const audit = { appendOwn: append, recordOwn: async (part: OwnAct, work: () => Promise<Partial<OwnAct>>) => await append({ ...part, ...(await work()) }) } as unknown as AuditLog;
  const service = new TrustService(trust, { refresh: async () => undefined } as unknown as RestCertificate, { record: async () => undefined } as unknown as EventService, audit, config);
  return { trust, service };
}

/** It comes as far as it gets: one that was killed hangs where that happened. */
async function look({ service }: Life, countBefore: number): Promise<void> {
  const looked = service.look();
  const written = (async () => {
    while (entries.length === countBefore) await new Promise((resolve) => setTimeout(resolve, 5));
  })();
  await Promise.race([looked, written]);
}

const printOf = ({ trust }: Life, role: OwnRole): string => fingerprint(trust.identities().get(role)?.current().certificatePem ?? '');
const about = (entity: string): OwnAct[] => entries.filter(({ entities }) => entities.includes(entity));
const changesOf = (entity: string): AuditChange[] => about(entity).flatMap(({ changes }) => [...(changes ?? [])]).filter(({ path }) => path === '.' || path === 'certificate' || path === 'signer');

describe("each of the site's certificates has its entry", () => {
  it('those that were made before there was an audit, once, at the first start', async () => {
    const first = await start();
    await first.service.look();
    expect(entries.map(({ action, entities }) => [action, ...entities])).toEqual([['certificate.renewed', 'certificate:zvm'], ['certificate.renewed', 'certificate:nats'], ['ca.made', `site:${config.siteId}`]]);
    expect(JSON.stringify(about('certificate:zvm'))).toContain(printOf(first, 'zvm'));
    await first.service.look();
    await (await start()).service.look();
    expect(entries).toHaveLength(3);
  }, 120_000);

  it('one that a start renewed, though it was killed before its entry was safe', async () => {
    const first = await start();
    await first.service.look();
    const before = printOf(first, 'zvm');
    nowMs += 70 * DAY_MS;
    const second = await start('beforeEntry');
    void second.service.look();
    const renewed = printOf(second, 'zvm');
    expect(renewed).not.toBe(before);
    entries = [];
    const third = await start();
    expect(printOf(third, 'zvm')).toBe(renewed);
    await third.service.look();
    expect(changesOf('certificate:zvm')).toEqual([{ path: 'certificate', before, after: renewed }]);
    expect(changesOf('certificate:nats')).toHaveLength(1);
    await (await start()).service.look();
    expect(entries).toHaveLength(2);
  }, 120_000);

  it('one that was renewed while it ran, too, if that could not be recorded', async () => {
    const first = await start();
    await first.service.look();
    const before = printOf(first, 'nats');
    const second = await start('nothingTaken');
    nowMs += 70 * DAY_MS;
    await second.service.look();
    entries = [];
    const third = await start();
    await third.service.look();
    expect(changesOf('certificate:nats')).toEqual([{ path: 'certificate', before, after: printOf(second, 'nats') }]);
  }, 120_000);

  it('a kill between the entry and the note of it leaves one entry too many, not one too few', async () => {
    await look(await start('afterEntry'), 0);
    expect(entries).toHaveLength(1);
    await (await start()).service.look();
    expect(about('certificate:zvm')).toHaveLength(2);
    expect([about('certificate:nats').length, about(`site:${config.siteId}`).length]).toEqual([1, 1]);
    await (await start()).service.look();
    expect(entries).toHaveLength(4);
  }, 120_000);

  it('a CA that a start switched to, because the one before had ended meanwhile; not one that a rotation has told of itself', async () => {
    const first = await start();
    await first.service.look();
    const old = fingerprint(first.trust.ca.signerPem);
    nowMs += 3600 * DAY_MS;
    await first.trust.ca.announceNext();
    await first.service.look();
    nowMs += 100 * DAY_MS;
    entries = [];
    const second = await start();
    await second.service.look();
    expect(about(`site:${config.siteId}`).map(({ action }) => action)).toEqual(['ca.switched']);
    expect(changesOf(`site:${config.siteId}`)).toEqual([{ path: 'signer', before: old, after: fingerprint(second.trust.ca.signerPem) }]);
    entries = [];
    await second.trust.ca.retireOld();
    await second.service.look();
    await (await start()).service.look();
    expect(about(`site:${config.siteId}`)).toEqual([]);
  }, 120_000);

  it('again, where the note cannot be read', async () => {
    await (await start()).service.look();
    await writeFile(join(folder, 'audit-certificates.json'), '[1');
    await (await start()).service.look();
    expect(about('certificate:zvm')).toHaveLength(2);
  }, 120_000);
});
