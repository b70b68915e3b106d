import { Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../clock.js';
import { conflict } from '../../errors.js';
import type { OperationKind, StepContext } from '../../operation/operation-kind.js';
import { OperationService, pause } from '../../operation/operation.service.js';
import { PeerExchange } from '../../peer/peer-exchange.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { CatalogueStore } from '../catalogue.store.js';
import { VpgStore } from '../vpg.store.js';

const LISTED_MS = 60_000;
const CONFIRMED_MS = 20_000;
const POLL_MS = 100;
const INSERT_MS = 60_000;

export interface InsertCheckpointInput {
  readonly vpgId: string;
  readonly tag: string;
  readonly isApplicationConsistent: boolean;
  /** Newest listed one when this was asked. */
  readonly afterId: number;
}

/** Puts a tagged checkpoint into a VPG, and ends when both sites list it. */
@Injectable()
export class InsertCheckpointOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly link: PeerLinkService,
    private readonly exchange: PeerExchange,
    private readonly catalogues: CatalogueStore,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<InsertCheckpointInput> {
    return {
      kind: 'insertCheckpoint',
      taskType: 'InsertTaggedCP',
      isExclusive: false,
      done: ({ input, notes }) =>
        `checkpoint ${String(notes['checkpointId'])} '${input.tag}' is listed ${notes['isAtPeer'] === false ? 'at the recovery site; the protected site is away' : 'at both sites'}`,
      steps: {
        requestCheckpoint: { do: async ({ input }) => ({ checkpointId: await this.#request(input) }) },
        awaitListed: { do: async (context) => ({ revision: await this.#untilListed(context) }) },
        awaitListedAtPeer: { do: async (context) => ({ isAtPeer: await this.#untilConfirmed(context) }) },
      },
    };
  }

  async #request({ vpgId, tag, isApplicationConsistent, afterId }: InsertCheckpointInput): Promise<number> {
    // After a kill between the request and its record, the checkpoint may be there already.
    const made = await this.catalogues.findTagged(vpgId, tag, afterId);
    if (made) return made.checkpointId;
    const { definition } = this.vpgs.get(vpgId);
    const message = { vpgId, tag, isApplicationConsistent };
    return (await this.link.ask(definition.protectedSiteId, 'checkpoint.insert', message, { timeoutMs: INSERT_MS })).checkpointId;
  }

  async #untilListed({ input, notes, signal }: StepContext<InsertCheckpointInput>): Promise<number> {
    const checkpointId = Number(notes['checkpointId']);
    const until = this.clock.monotonicMs() + LISTED_MS;
    while (!signal.aborted) {
      const summary = await this.catalogues.load(input.vpgId);
      const isReached = (summary.latest?.checkpointId ?? 0) >= checkpointId;
      if (isReached && (await this.catalogues.find(input.vpgId, checkpointId))) return summary.revision;
      if (this.clock.monotonicMs() > until) throw conflict(`checkpoint ${checkpointId} did not become recoverable within ${LISTED_MS / 1000} s`);
      await pause(POLL_MS, signal);
    }
    return 0;
  }

  /** The recovery site's list alone decides when the other one is away. */
  async #untilConfirmed({ input, notes, signal }: StepContext<InsertCheckpointInput>): Promise<boolean> {
    const { definition } = this.vpgs.get(input.vpgId);
    const until = this.clock.monotonicMs() + CONFIRMED_MS;
    while (!signal.aborted) {
      if (this.exchange.isConfirmed(input.vpgId, Number(notes['revision']))) return true;
      if (!this.link.isAlive(definition.protectedSiteId) || this.clock.monotonicMs() > until) return false;
      await pause(POLL_MS, signal);
    }
    return false;
  }
}
