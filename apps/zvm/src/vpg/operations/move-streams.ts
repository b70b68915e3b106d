import { Injectable } from '@nestjs/common';
import type { SettledVmV1 } from '@tidemark/contracts';
import { Clock } from '../../clock.js';
import { conflict } from '../../errors.js';
import type { StepContext } from '../../operation/operation-kind.js';
import { pause } from '../../operation/operation.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { CatalogueStore } from '../catalogue.store.js';
import { VpgStore } from '../vpg.store.js';
import type { FailoverInput } from './failover-steps.js';

const POLL_MS = 200;
/** Without any progress for so long the streams will not end by themselves. */
const STUCK_MS = 5 * 60_000;
const ASK_MS = 60_000;
const LISTED_MS = 60_000;

/** What a move waits for on the way of the last bytes. */
@Injectable()
export class MoveStreams {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly link: PeerLinkService,
    private readonly catalogues: CatalogueStore,
    private readonly clock: Clock,
  ) {}

  /** Until every VM's stream is a plain one with nothing to send: a checkpoint could not be made before. */
  async drain({ input, signal, share }: StepContext<FailoverInput>): Promise<void> {
    const { definition } = this.vpgs.get(input.vpgId);
    const startedMs = this.clock.monotonicMs();
    let [least, firstBytes, progressMs] = [Infinity, 0, startedMs];
    while (!signal.aborted) {
      const bytesLeft = this.#bytesLeft(input.vpgId, definition.vms.length, startedMs);
      if (bytesLeft === 0) return;
      if (bytesLeft !== undefined && bytesLeft < least) [least, progressMs] = [bytesLeft, this.clock.monotonicMs()];
      if (bytesLeft !== undefined) {
        firstBytes = Math.max(firstBytes, bytesLeft);
        await share(1 - bytesLeft / firstBytes);
      }
      if (this.clock.monotonicMs() - progressMs > STUCK_MS) {
        throw conflict(`what the VMs have written does not get to the recovery site: ${Number.isFinite(least) ? `${least} bytes are left` : 'their replication is not known'}`);
      }
      await pause(POLL_MS, signal);
    }
  }

  /** From news that was sent after the step began; undefined: there is none yet, or a stream is in no state to end. */
  #bytesLeft(vpgId: string, vmCount: number, startedMs: number): number | undefined {
    const heard = this.link.lastNews(this.vpgs.get(vpgId).definition.protectedSiteId);
    if (!heard || this.clock.monotonicMs() - heard.ageMs < startedMs + POLL_MS) return undefined;
    const streams = heard.news.vpgs.find((vpg) => vpg.vpgId === vpgId)?.protections ?? [];
    if (streams.length < vmCount) return undefined;
    const bytes = streams.reduce((sum, { lagBytes, sync }) => sum + Math.max(lagBytes, sync?.remainingBytes ?? 0), 0);
    // A state other than this has something left, even if it is not counted in bytes.
    return streams.every(({ state }) => state === 'replicating') ? bytes : Math.max(1, bytes);
  }

  async lastCheckpoint({ input, taskId, signal }: StepContext<FailoverInput>): Promise<{ readonly checkpointId: number; readonly atMs: number }> {
    const { definition } = this.vpgs.get(input.vpgId);
    // The tag names the task: after a kill between the request and its record the checkpoint is found, not made once more.
    const tag = `Move ${taskId}`;
    const made = (await this.catalogues.list(input.vpgId)).find((entry) => entry.tag === tag);
    if (made) return made;
    const { checkpointId } = await this.link.ask(definition.protectedSiteId, 'checkpoint.insert', { vpgId: input.vpgId, tag }, { timeoutMs: ASK_MS });
    const until = this.clock.monotonicMs() + LISTED_MS;
    while (!signal.aborted) {
      const listed = await this.catalogues.find(input.vpgId, checkpointId);
      if (listed) return listed;
      if (this.clock.monotonicMs() > until) break;
      await pause(POLL_MS, signal);
    }
    throw conflict(`the last checkpoint ${checkpointId} did not become recoverable within ${LISTED_MS / 1000} s`);
  }

  /** That nothing was written behind the checkpoint, and how the old disks look then. @throws ZvmError ZVM_CONFLICT for a VM that has written */
  async settled(vpgId: string, checkpointId: number): Promise<SettledVmV1[]> {
    const { definition } = this.vpgs.get(vpgId);
    const { vms } = await this.link.ask(definition.protectedSiteId, 'vpg.settle', { vpgId, checkpointId }, { timeoutMs: ASK_MS });
    return [...vms];
  }
}
