import { Injectable, type OnModuleInit } from '@nestjs/common';
import { conflict } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import { VpgStore } from '../vpg.store.js';

const FORCE_SYNC_MS = 60_000;

export interface SteerInput {
  readonly vpgId: string;
  readonly name: string;
}

/** Force sync, pause and resume: what users do to a VPG's replication while it goes on. */
@Injectable()
export class SteerReplicationOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly link: PeerLinkService,
    private readonly site: RecoverySite,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#forceSyncKind());
    this.operations.register(this.#pauseKind('pauseReplication', true));
    this.operations.register(this.#pauseKind('resumeReplication', false));
  }

  /** Asked twice it only begins again: what was found equal is compared once more. */
  #forceSyncKind(): OperationKind<SteerInput> {
    return {
      kind: 'forceSync',
      taskType: 'InitFullSync',
      isExclusive: true,
      done: ({ input }) => `VPG '${input.name}' is compared with the recovery site; what differs is sent, and its checkpoints stay`,
      steps: {
        checkSyncable: { do: ({ input }) => Promise.resolve(this.#checkSyncable(input)) },
        requestSync: { do: async ({ input: { vpgId } }) => void (await this.link.ask(this.vpgs.get(vpgId).definition.protectedSiteId, 'vpg.forceSync', { vpgId }, { timeoutMs: FORCE_SYNC_MS })) },
      },
    };
  }

  /** It may have been paused or failed over since it was asked. */
  #checkSyncable({ vpgId, name }: SteerInput): void {
    const { state, definition } = this.vpgs.get(vpgId);
    if (state !== 'protecting' || definition.isPaused === true) throw conflict(`VPG '${name}' does not replicate now`);
    if (!this.link.isAlive(definition.protectedSiteId)) throw conflict(`site ${definition.protectedSiteName} does not answer: its VRAs cannot be told`);
  }

  #pauseKind(kind: 'pauseReplication' | 'resumeReplication', isPaused: boolean): OperationKind<SteerInput> {
    const record = async (vpgId: string, isNowPaused: boolean): Promise<void> => {
      await this.vpgs.update(vpgId, (current) => ({ ...current, definition: { ...current.definition, isPaused: isNowPaused } }));
    };
    return {
      kind,
      taskType: 'UpdateProtectionGroup',
      isExclusive: true,
      done: ({ input }) => `replication of VPG '${input.name}' ${isPaused ? 'is paused: it can be recovered to its last checkpoint' : 'goes on'}`,
      steps: {
        [isPaused ? 'recordPause' : 'recordResume']: { do: async ({ input }: { input: SteerInput }) => await record(input.vpgId, isPaused), undo: async ({ input }: { input: SteerInput }) => await record(input.vpgId, !isPaused) },
        [isPaused ? 'tellPaused' : 'tellResumed']: { do: async ({ input }: { input: SteerInput }) => await this.site.tellPeer(input.vpgId) },
      },
    };
  }
}
