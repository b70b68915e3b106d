import { describe, expect, it } from '@jest/globals';
import { CHECKPOINT_TAG_MAX } from '@tidemark/contracts';
import { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import type { VraLinkService } from '../vra/vra-link.service.js';
import { CatalogueService } from './catalogue.service.js';
import type { CatalogueEntry, CatalogueStore } from './catalogue.store.js';
import type { VpgStore } from './vpg.store.js';

const SITE = 'site-b';

/** One VM whose journal holds checkpoint 7. The VPG becomes `state` after its journal has answered and before the answer is written down. Answers what was written. */
async function writtenWhenItBecomes(state: 'protecting' | 'promoting', recoverySiteId = SITE): Promise<number[]> {
  const vpg = { state: 'protecting', definition: { vpgId: 'vpg', recoverySiteId: SITE, historyMs: 3_600_000, checkpointIntervalMs: 5000, vms: [{ vmId: 'vm', recoveringVra: { vraId: 'vra' } }] } };
  const written: number[] = [];
  let answered: () => void = () => undefined;
  const answer = new Promise<void>((resolve) => (answered = resolve));
  const store = {
    load: async () => undefined,
    count: async () => 0,
    list: async () => [],
    notes: async () => {
      vpg.state = state;
      vpg.definition.recoverySiteId = recoverySiteId;
      answered();
      return new Map();
    },
    apply: async (_vpgId: string, { added }: { readonly added: readonly { readonly checkpointId: number }[] }) => written.push(...added.map(({ checkpointId }) => checkpointId)),
  } as unknown as CatalogueStore;
  const held = { checkpointId: 7, epoch: 1, term: 1, vmIds: ['vm'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' };
  const vras = {
    onStatus: () => undefined,
    status: () => ({ recoveries: [{ vpgId: 'vpg', vmId: 'vm', instance: 'i', lastChange: 1 }] }),
    listCheckpoints: async (_vraId: string, _ref: object, { afterChange }: { readonly afterChange?: number }) => (
      { instance: 'i', lastChange: 1, isMore: false, isWhole: afterChange === undefined, held: afterChange === undefined ? [held] : [], dropped: [] }
    ),
  } as unknown as VraLinkService;
  const vpgs = { isLoaded: true, all: () => [vpg], find: () => vpg } as unknown as VpgStore;
  const service = new CatalogueService(store, vpgs, vras, new Clock(), { siteId: SITE } as ZvmConfig);
  service.onApplicationBootstrap();
  await answer;
  await service.onApplicationShutdown();
  return written;
}

describe("what a journal says of a VPG's checkpoints", () => {
  it('is written down while the VPG is protected', async () => {
    expect(await writtenWhenItBecomes('protecting')).toEqual([7]);
  });

  it('does not bring back a history that a commit has ended meanwhile', async () => {
    expect(await writtenWhenItBecomes('promoting')).toEqual([]);
  });

  it('does not go into the list of a VPG that was handed over to the other site meanwhile', async () => {
    expect(await writtenWhenItBecomes('protecting', 'site-a')).toEqual([]);
  });
});

/** How many checkpoints are read of a VRA whose list, or whose changes, never end, and which commands it is named for. */
async function readOfEndless(isWhole: boolean): Promise<{ readonly listed: number; readonly written: number; readonly bad: readonly string[] }> {
  const vpg = { state: 'protecting', definition: { vpgId: 'vpg', recoverySiteId: SITE, historyMs: 3_600_000, checkpointIntervalMs: 5000, name: 'Shop', vms: [{ vmId: 'vm', name: 'db1', recoveringVra: { vraId: 'vra' } }] } };
  const [bad, written]: [string[], number[]] = [[], []];
  let [next, toldBad]: [number, () => void] = [1, () => undefined];
  const isNamed = new Promise<void>((resolve) => (toldBad = resolve));
  const page = (): object[] => Array.from({ length: 5000 }, () => ({ checkpointId: next++, epoch: 1, term: 1, vmIds: ['vm'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' }));
  const vras = {
    onStatus: () => undefined,
    status: () => ({ recoveries: [{ vpgId: 'vpg', vmId: 'vm', instance: 'i', lastChange: Number.MAX_SAFE_INTEGER }] }),
    // A turn of the event loop each, as a broker's answer takes.
    listCheckpoints: async () => await new Promise((resolve) => setImmediate(() => resolve({ instance: 'i', lastChange: next, isWhole: isWhole || next === 1, isMore: isWhole || next > 1, held: page(), dropped: [] }))),
    noteAnswer: (vraId: string, topic: string, problem: string) => {
      bad.push(`${vraId} ${topic}: ${problem}`);
      toldBad();
    },
  } as unknown as VraLinkService;
  const store = {
    load: async () => undefined, count: async () => 0, list: async () => [], notes: async () => new Map(),
    apply: async (_vpgId: string, { added }: { readonly added: readonly object[] }) => written.push(added.length),
  } as unknown as CatalogueStore;
  const service = new CatalogueService(store, { isLoaded: true, all: () => [vpg], find: () => vpg } as unknown as VpgStore, vras, new Clock(), { siteId: SITE } as ZvmConfig);
  service.onApplicationBootstrap();
  await isNamed;
  const listed = next;
  await service.onApplicationShutdown();
  return { listed, written: written.reduce((sum, count) => sum + count, 0), bad };
}

describe('a VRA whose answers never come to an end', () => {
  /** Three days and twice an hour, at one each 5 s; and what time adds, on a slow machine. */
  const MAX = 60_000 + 2 * 720 + 100;

  it('is refused when its list is longer than any of its history, and nothing of it is written', async () => {
    const { listed, written, bad } = await readOfEndless(true);
    expect(bad[0]).toMatch(/^vra checkpoint\.list: lists more checkpoints of VM 'db1' of VPG 'Shop'.*what was listed stays/);
    expect(listed).toBeLessThanOrEqual(MAX + 10_001);
    expect(written).toBe(0);
  }, 60_000);

  it('is refused when its changes add up to more than that', async () => {
    const { listed, written, bad } = await readOfEndless(false);
    expect(bad[0]).toMatch(/^vra checkpoint\.list: lists more checkpoints of VM 'db1' of VPG 'Shop'.*what was listed stays/);
    expect(listed).toBeLessThanOrEqual(MAX + 10_001);
    expect(written).toBeLessThanOrEqual(MAX);
  }, 60_000);
});

it('a VRA that lies about one VM takes no checkpoint from the others of its VPG', async () => {
  const vmOf = (vmId: string): object => ({ vmId, name: vmId, recoveringVra: { vraId: `vra of ${vmId}` } });
  const vpg = { state: 'protecting', definition: { vpgId: 'vpg', name: 'Shop', recoverySiteId: SITE, historyMs: 3_600_000, checkpointIntervalMs: 5000, vms: [vmOf('liar'), vmOf('other')] } };
  const entry = (checkpointId: number, vmIds: readonly string[]): object => ({ checkpointId, epoch: 1, term: 1, vmIds, atMs: 0, ageMs: 0, tag: null, kind: 'automatic' });
  const honest = [entry(1, ['other']), entry(2, ['liar', 'other']), entry(3, ['liar', 'other'])];
  const named: string[] = [];
  const listed = new Set<number>();
  let [isLying, nowMs, poke, toldBad, toldFour]: [boolean, number, () => void, () => void, () => void] = [false, 0, () => undefined, () => undefined, () => undefined];
  const [isNamed, isFourListed] = [new Promise<void>((resolve) => (toldBad = resolve)), new Promise<void>((resolve) => (toldFour = resolve))];
  const lastChange = (vraId: string): number => (vraId === 'vra of other' && named.length > 0 ? 2 : 1);
  const vras = {
    onStatus: (listener: () => void) => (poke = listener),
    status: (vraId: string) => ({ recoveries: ['liar', 'other'].map((vmId) => ({ vpgId: 'vpg', vmId, instance: isLying && vraId === 'vra of liar' ? 'k' : 'i', lastChange: lastChange(vraId) })) }),
    listCheckpoints: async (vraId: string, { vmId }: { readonly vmId: string }, { afterChange, afterCheckpointId = 0 }: { readonly afterChange?: number; readonly afterCheckpointId?: number }) => {
      await new Promise((resolve) => setImmediate(resolve));
      if (isLying && vmId === 'liar') return { instance: 'k', lastChange: 1, isWhole: true, isMore: true, held: Array.from({ length: 5000 }, (_, index) => entry(afterCheckpointId + index + 10, ['liar'])), dropped: [] };
      if (afterChange !== undefined) return { instance: 'i', lastChange: lastChange(vraId), isWhole: false, isMore: false, held: [entry(4, ['other'])], dropped: [] };
      return { instance: 'i', lastChange: 1, isWhole: true, isMore: false, held: vmId === 'liar' ? honest.slice(1) : honest, dropped: [] };
    },
    noteAnswer: (vraId: string) => {
      named.push(vraId);
      toldBad();
    },
  } as unknown as VraLinkService;
  const store = {
    load: async () => undefined, count: async () => 0, list: async () => [], notes: async () => new Map(),
    apply: async (_vpgId: string, { added, removed }: { readonly added: readonly { readonly checkpointId: number }[]; readonly removed: readonly number[] }) => {
      for (const id of removed) listed.delete(id);
      for (const { checkpointId } of added) listed.add(checkpointId);
      isLying = true;
      nowMs += 2000;
      poke();
      if (listed.has(4)) toldFour();
      return 1;
    },
  } as unknown as CatalogueStore;
  const service = new CatalogueService(store, { isLoaded: true, all: () => [vpg], find: () => vpg } as unknown as VpgStore, vras, { monotonicMs: () => nowMs } as Clock, { siteId: SITE } as ZvmConfig);
  service.onApplicationBootstrap();
  await isNamed;
  poke();
  await isFourListed;
  await service.onApplicationShutdown();
  expect(new Set(named)).toEqual(new Set(['vra of liar']));
  expect([...listed]).toEqual([1, 2, 3, 4]);
}, 60_000);

it('a VRA whose changes go on for ever, with nothing in them, holds up no other VPG', async () => {
  const vpgOf = (vpgId: string) => ({ state: 'protecting', definition: { vpgId, recoverySiteId: SITE, historyMs: 3_600_000, checkpointIntervalMs: 5000, vms: [{ vmId: 'vm', recoveringVra: { vraId: vpgId } }] } });
  const vpgs = [vpgOf('endless'), vpgOf('good')];
  let [nowMs, lastChange]: [number, number] = [0, 0];
  const held = { checkpointId: 7, epoch: 1, term: 1, vmIds: ['vm'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' };
  const vras = {
    onStatus: () => undefined,
    // The good one is heard when the endless reading is under way.
    status: (vraId: string) => (vraId === 'good' && lastChange < 5 ? undefined : { recoveries: [{ vpgId: vraId, vmId: 'vm', instance: 'i', lastChange: vraId === 'good' ? 1 : Number.MAX_SAFE_INTEGER }] }),
    listCheckpoints: async (vraId: string, _ref: object, { afterChange }: { readonly afterChange?: number }) => {
      nowMs += 100;
      const isWhole = afterChange === undefined;
      if (vraId === 'good') return { instance: 'i', lastChange: 1, isMore: false, isWhole, held: isWhole ? [held] : [], dropped: [] };
      lastChange += 1;
      return await new Promise((resolve) => setImmediate(() => resolve({ instance: 'i', lastChange, isMore: !isWhole, isWhole, held: [], dropped: [] })));
    },
  } as unknown as VraLinkService;
  let written: () => void = () => undefined;
  const isWritten = new Promise<void>((resolve) => (written = resolve));
  const store = {
    load: async () => undefined, count: async () => 0, list: async () => [], notes: async () => new Map(),
    apply: async (vpgId: string) => {
      if (vpgId === 'good') written();
    },
  } as unknown as CatalogueStore;
  const service = new CatalogueService(store, { isLoaded: true, all: () => vpgs, find: () => vpgs[1] } as unknown as VpgStore, vras, { monotonicMs: () => nowMs } as Clock, { siteId: SITE } as ZvmConfig);
  service.onApplicationBootstrap();
  await isWritten;
  await service.onApplicationShutdown();
}, 60_000);

it('a checkpoint that is tested again and again keeps its name and the newest note, in a text that the other site takes', async () => {
  let entry: CatalogueEntry = { checkpointId: 7, atMs: 0, tag: 'before the upgrade', kind: 'tagged', epoch: 1, term: 1, vmIds: ['vm'] };
  const store = {
    find: async () => entry,
    note: async () => undefined,
    apply: async (_vpgId: string, { added: [changed] }: { readonly added: readonly CatalogueEntry[] }) => {
      if (changed) entry = changed;
      return 1;
    },
  } as unknown as CatalogueStore;
  const unused = undefined as never;
  const service = new CatalogueService(store, unused, unused, new Clock(), { siteId: SITE } as ZvmConfig);
  for (let test = 0; test < 40; test += 1) await service.tag('vpg', 7, `Tested at ${new Date(test * 60_000).toISOString()}`);
  expect(entry.tag?.length).toBeLessThanOrEqual(CHECKPOINT_TAG_MAX);
  expect(entry.tag).toMatch(/^before the upgrade; .*; Tested at 1970-01-01T00:39:00.000Z$/);
});
