import { Injectable, type OnModuleInit } from '@nestjs/common';
import { nextState } from '@tidemark/vpg';
import { InventoryService } from '../../inventory/inventory.service.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { RecoveryScripts } from '../../script/recovery-scripts.service.js';
import { cut } from '../../script/script-outcome.js';
import { VraStateService } from '../../vra/vra-state.service.js';
import { CatalogueStore } from '../catalogue.store.js';
import { RecoverySite } from '../recovery-site.service.js';
import { settingsOf } from '../vpg-definition.js';
import type { VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export interface TakeReverseInput {
  /** The VPG in its new direction, decided from both inventories before anything was changed. */
  readonly record: VpgRecord;
  /** VMs of this site that the recovered ones have replaced. */
  readonly oldVmIds: readonly string[];
}

/** At the site where the VMs of a failed-over VPG ran: it recovers them from now on, into the disks that they had. Every step may be repeated. */
@Injectable()
export class TakeReverseOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly inventory: InventoryService,
    private readonly site: RecoverySite,
    private readonly vraStates: VraStateService,
    private readonly scripts: RecoveryScripts,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<TakeReverseInput> {
    return {
      kind: 'takeReverse',
      taskType: 'ActivateAllMirrors',
      isExclusive: true,
      done: ({ input, notes }) =>
        `VPG '${input.record.definition.name}' protects the VMs at ${input.record.definition.protectedSiteName}; their old disks here are its recovery volumes${scriptText(notes['scriptProblems'])}`,
      steps: {
        recordReversed: { do: async ({ input }) => await this.#record(input.record) },
        retireOldVms: { do: async ({ input }) => await this.#retire(input.oldVmIds) },
        // Refused while a VRA of this site still has an old disk open: tried again until it has let go.
        openOldVolumes: {
          do: async ({ input: { record } }) => {
            if (this.#isCurrent(record)) await this.site.putRecoveries(record.definition, record.epoch);
          },
        },
        startReversed: {
          do: async ({ input: { record } }) => {
            await this.#start(record);
            return { scriptProblems: await this.scripts.problemsOf(settingsOf(record.definition)) };
          },
        },
      },
    };
  }

  /** Deleted by force since: nothing is made of it any more. */
  #isCurrent({ definition }: VpgRecord): boolean {
    const known = this.vpgs.find(definition.vpgId);
    return known?.definition.recoverySiteId === definition.recoverySiteId && (known.state === 'creating' || known.state === 'protecting');
  }

  async #record(record: VpgRecord): Promise<void> {
    const { vpgId, recoverySiteId } = record.definition;
    await this.vpgs.decide(vpgId, async (known) => {
      if (known?.definition.recoverySiteId === recoverySiteId) return undefined;
      await this.catalogues.clear(vpgId);
      return record;
    });
    this.vraStates.poke();
  }

  /** Whatever runs there writes into a past that nobody will see: its history ended with the commit. */
  async #retire(vmIds: readonly string[]): Promise<void> {
    const inventory = await this.inventory.refresh();
    for (const vm of inventory.vms.filter(({ id }) => vmIds.includes(id))) {
      if (vm.powerState === 'poweredOn') await this.inventory.hypervisor.powerOff(vm.id, { isForced: true });
      await this.inventory.hypervisor.deleteVm(vm.id, { areDisksKept: true });
    }
    await this.inventory.refresh();
    this.vraStates.poke();
  }

  async #start({ definition }: VpgRecord): Promise<void> {
    const known = this.vpgs.find(definition.vpgId);
    if (known?.state === 'creating') await this.vpgs.update(definition.vpgId, (current) => ({ ...current, state: nextState(current.state, 'created') }));
    await this.site.tryTellPeer(definition.vpgId);
  }
}

/** From now on they run here, where nobody may have put them yet: a recovery would stop at them. */
const scriptText = (problems: unknown): string =>
  Array.isArray(problems) && problems.length > 0 ? `. Its recovery scripts cannot be run at this site: ${cut(problems.join('; '))}` : '';
