import { beforeEach, describe, expect, it } from '@jest/globals';
import type { RecoveryV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import { beginRun, dueStep, stepFailed, stepSucceeded } from '@tidemark/recovery';
import type { ZvmConfig } from '../../config.js';
import { ZvmError } from '../../errors.js';
import type { OperationKind, StepContext } from '../../operation/operation-kind.js';
import type { OperationService } from '../../operation/operation.service.js';
import type { PeerLinkService } from '../../peer/peer-link.service.js';
import { SITE_B, vpgDefinition, vpgRecord, vpgVm } from '../../testing/factories.js';
import type { VraLinkService } from '../../vra/vra-link.service.js';
import type { CatalogueStore } from '../catalogue.store.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { VpgRecord } from '../vpg-model.js';
import type { VpgStore } from '../vpg.store.js';
import { ChangeVpgOperations, type UpdateVpgInput } from './change-vpg.js';

const HOUR_MS = 3_600_000;
const at = (vraId: string) => ({ recoveringVra: { vraId, address: '127.0.2.11', controlPort: 4007, dataPort: 4008 } });
const before = vpgDefinition({ historyMs: 24 * HOUR_MS, vms: [vpgVm('vm1', at('91')), vpgVm('vm2', at('92'))] });
const definition = { ...before, historyMs: HOUR_MS };

describe('an edit of a VPG', () => {
  let record: VpgRecord;
  /** By VRA, as it was told last. */
  let histories: Map<string, number>;
  let alive: Set<string>;
  let failing: (vraId: string, spec: RecoveryV1) => Error | undefined;
  let kind: OperationKind<UpdateVpgInput> | undefined;

  beforeEach(() => {
    record = vpgRecord({ definition: before });
    histories = new Map([['91', before.historyMs], ['92', before.historyMs]]);
    alive = new Set(['91', '92']);
    failing = () => undefined;
    const putRecovery = (vraId: string, spec: RecoveryV1): Promise<void> => {
      const error = failing(vraId, spec);
      if (error) return Promise.reject(error);
      histories.set(vraId, spec.historyMs);
      return Promise.resolve();
    };
    const vras = { putRecovery, isAlive: (vraId: string) => alive.has(vraId) } as unknown as VraLinkService;
    const vpgs = {
      get: () => record, find: () => record,
      update: (_vpgId: string, change: (record: VpgRecord) => VpgRecord) => Promise.resolve((record = change(record))),
    } as unknown as VpgStore;
    const site = new RecoverySite(vras, vpgs, { isAlive: () => false } as unknown as PeerLinkService, { siteId: SITE_B } as ZvmConfig);
    const operations = { register: (each: OperationKind) => (each.kind === 'updateVpg' ? (kind = each as OperationKind<UpdateVpgInput>) : undefined) } as unknown as OperationService;
    new ChangeVpgOperations(operations, vpgs, {} as CatalogueStore, site).onModuleInit();
  });

  /** As the operation service does it, without its pauses. */
  async function edit(): Promise<{ readonly phase: string; readonly tries: number }> {
    let run = beginRun('updateVpg');
    let tries = 0;
    for (let due = dueStep(run); due !== undefined && tries < 50; due = dueStep(run)) {
      tries += 1;
      const handler = kind?.steps[due.name];
      const context = { input: { before, definition } } as unknown as StepContext<UpdateVpgInput>;
      try {
        await (due.direction === 'do' ? handler?.do(context) : handler?.undo?.(context));
        run = stepSucceeded(run);
      } catch (error) {
        run = stepFailed(run, { reason: String(error), isRetryable: error instanceof ZvmError && error.isRetryable });
      }
    }
    return { phase: run.phase, tries };
  }

  const down = (): Error => new ZvmError('ZVM_VRA_DOWN', 'VRA 92 does not answer');

  it('is known to every recovering VRA when it has ended', async () => {
    expect((await edit()).phase).toBe('completed');
    expect([...histories.values()]).toEqual([HOUR_MS, HOUR_MS]);
    expect(record.definition.historyMs).toBe(HOUR_MS);
  });

  it('that fails because a VRA is down leaves no other one with its history, and does not wait for that one', async () => {
    failing = (vraId) => (vraId === '92' ? down() : undefined);
    alive.delete('92');
    expect((await edit()).phase).toBe('rolledBack');
    expect(record.definition.historyMs).toBe(24 * HOUR_MS);
    expect(histories.get('91')).toBe(24 * HOUR_MS);
  });

  it('that fails is put back at a VRA that is heard until it answers, for it may have taken it', async () => {
    let asked = 0;
    failing = (vraId) => {
      if (vraId !== '92') return undefined;
      asked += 1;
      // Taken, and the answers got lost.
      if (asked < 9) histories.set('92', HOUR_MS);
      return asked < 9 ? down() : undefined;
    };
    expect((await edit()).phase).toBe('rolledBack');
    expect([...histories.values()]).toEqual([24 * HOUR_MS, 24 * HOUR_MS]);
  });

  it('that a VRA refuses, and its undo too, ends', async () => {
    failing = (vraId) => (vraId === '92' ? new ControlError('CONTROL_REFUSED', 'volume 1 cannot become smaller', 'VRA_CONFLICT') : undefined);
    expect(await edit()).toEqual({ phase: 'rolledBack', tries: 4 });
    expect([...histories.values()]).toEqual([24 * HOUR_MS, 24 * HOUR_MS]);
  });
});
