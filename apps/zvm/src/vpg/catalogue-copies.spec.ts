import { beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { CataloguePutV1 } from '@tidemark/contracts';
import type { Clock } from '../clock.js';
import type { EventService } from '../event/event.service.js';
import { SITE_B, vpgDefinition, vpgRecord } from '../testing/factories.js';
import { CatalogueCopies } from './catalogue-copies.service.js';
import type { CatalogueStore, CopyTerms, WrittenRows } from './catalogue.store.js';
import type { VpgStore } from './vpg.store.js';

const HOUR_MS = 3_600_000;
/** Three days and twice an hour, at one each 5 s. */
const MAX = 60_000 + 2 * 720;

let nowMs: number;
let events: { readonly description: string; readonly vpgIds: readonly string[] }[];
let definition: ReturnType<typeof vpgDefinition>;
let copies: CatalogueCopies;
let kept: number;
/** Of a message, beside its rows: those of a VM set. */
let charactersOfRow: number;

beforeEach(() => {
  Logger.overrideLogger(false);
  [nowMs, events, definition, kept, charactersOfRow] = [0, [], vpgDefinition(), 0, 14];
  const write = (added: readonly object[], admit: CopyTerms['admit']): void => {
    const written: WrittenRows = { rows: added.length, characters: added.length * charactersOfRow };
    admit?.(written);
    kept += written.rows;
  };
  const store = {
    load: async () => ({ revision: 1 }),
    apply: async (_vpgId: string, { added }: CataloguePutV1, { revision, admit }: CopyTerms) => (write(added, admit), revision),
    copyPage: async (_vpgId: string, { entries, admit }: Pick<CopyTerms, 'admit'> & { readonly entries: readonly object[] }) => (write(entries, admit), 1),
  } as unknown as CatalogueStore;
  const vpgs = { find: (vpgId: string) => (vpgId === definition.vpgId || vpgId === 'other' ? vpgRecord({ definition: { ...definition, vpgId } }) : undefined) } as unknown as VpgStore;
  const recorder = { record: async (event: (typeof events)[number]) => void events.push(event) } as unknown as EventService;
  copies = new CatalogueCopies(vpgs, store, recorder, { monotonicMs: () => nowMs } as Clock);
});

const entries = (count: number): CataloguePutV1['added'] => Array.from({ length: count }, (_, index) => ({ checkpointId: index + 1, atMs: 0, tag: null, kind: 'automatic', epoch: 1, term: 1, vmIds: ['vm1', 'vm2'] }));
const put = async (count: number, values: Partial<CataloguePutV1> = {}): Promise<unknown> =>
  await copies.put({ vpgId: definition.vpgId, baseRevision: 1, revision: 2, isWhole: true, isMore: true, added: entries(count), removed: [], ...values }).catch((error: unknown) => error);
const flood = async (values?: Partial<CataloguePutV1>): Promise<void> => {
  for (let message = 0; message < 3000; message += 1) await put(1000, values);
};
const REFUSED = expect.objectContaining({ code: 'ZVM_CONFLICT', message: expect.stringMatching(/list of VPG 'App' is longer than its history.*60,000 checkpoints and twice its history at once, then two an interval/) });

describe('a copy of the list of a VPG that another site recovers', () => {
  it.each([['pages of a whole list', true], ['changes', false]])('is no longer than its history can have made it: %s', async (_name, isWhole) => {
    await flood({ isWhole });
    expect(kept).toBeGreaterThan(MAX - 1000);
    expect(kept).toBeLessThanOrEqual(MAX);
    expect(await put(1000, { isWhole })).toEqual(REFUSED);
  });

  it('may grow by two an interval, and what is removed gives nothing back', async () => {
    await flood({ isWhole: false, removed: [1, 2, 3] });
    const before = kept;
    for (let interval = 0; interval < 1000; interval += 1) {
      nowMs += 5000;
      expect(await put(2)).toEqual({ revision: 1 });
    }
    await flood();
    expect(kept - before).toBeLessThanOrEqual(2000 + 1000);
  });

  it('takes a month each 5 s at once, and no longer history, nor a shorter interval, that the other site may claim', async () => {
    definition = vpgDefinition({ historyMs: 720 * HOUR_MS });
    await flood();
    expect(kept).toBeGreaterThan(500_000);
    kept = 0;
    definition = vpgDefinition({ vpgId: 'other', historyMs: Number.MAX_SAFE_INTEGER, checkpointIntervalMs: 200 });
    for (let message = 0; message < 6000; message += 1) await put(1000);
    expect(kept).toBeLessThanOrEqual(60_000 + 2 * 720 * 3600);
  });

  it('pays for names of VMs that are not its own, and not for its own', async () => {
    definition = vpgDefinition({ vms: Array.from({ length: 500 }, (_, index) => ({ ...vpgDefinition().vms[0], vmId: `vm ${index}` })) as ReturnType<typeof vpgDefinition>['vms'] });
    charactersOfRow = JSON.stringify(definition.vms.map(({ vmId }) => vmId)).length;
    await flood();
    expect(kept).toBeGreaterThan(MAX - 1000);
    [definition, charactersOfRow, kept] = [vpgDefinition({ vpgId: 'other' }), 100_000, 0];
    await flood();
    expect(kept * charactersOfRow).toBeLessThanOrEqual(MAX * 414);
  });

  it('that is refused is told of in events of a bounded number, which count the others, and takes nothing from another VPG', async () => {
    await flood();
    expect(events).toHaveLength(10);
    expect(events[0]).toMatchObject({ description: expect.stringMatching(/^site B: the checkpoint list of VPG 'App'/), vpgIds: [definition.vpgId], isSuccess: false });
    nowMs += 600_000;
    await put(1000);
    await put(1000);
    expect(events[10]?.description).toMatch(/; \d{4} before it had no event of their own$/);
    expect(events).toHaveLength(11);
    expect(await put(1000, { vpgId: 'other' })).toEqual({ revision: 1 });
    expect(definition.recoverySiteId).toBe(SITE_B);
  });
});
