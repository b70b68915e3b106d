import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import {
  type Answer, type CheckpointDisksV1, type CheckpointInsertedV1, type CheckpointInsertV1, type CheckpointListingV1, type DesiredStateV1, type PinDropV1, type PinPutV1, type ProtectionSettledV1, type RecoveryReleaseV1,
  type RecoveryV1,
  isVraStatus, subjectOf, type ViewCloseV1, type ViewOpenV1, type ViewPromoteV1, VRA_COMMANDS, type VraAnswer, type VraStatusV1, type VraTopic,
} from '@tidemark/contracts';
import { ControlBus, ControlError } from '@tidemark/nest';
import type { ListingQuestion } from '@tidemark/recovery';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { badAnswer, ZvmError } from '../errors.js';
import { type Heartbeat, Heartbeats } from '../heartbeat/heartbeats.js';

/** Nest injection token of the {@link ControlBus} on this site's own NATS. */
export const SITE_BUS = Symbol('SiteBus');

/** A journal is opened or closed with all its files: seconds at most, unless the datastore is slow. */
export const OPEN_OR_CLOSE_MS = 60_000;

/** Applications flush for 6 s at most, and the checkpoint's own answer takes 5 s at most. */
const FREEZE_AND_INSERT_MS = 15_000;

interface ProtectionRef {
  readonly vpgId: string;
  readonly vmId: string;
}

/** With the epoch that this site believes to be in force: a VRA that knows a newer one refuses (VRA_EPOCH). */
type ProtectionAt = ProtectionRef & { readonly epoch: number };

/** All traffic with this site's VRAs over NATS: their heartbeats come in, commands go out. Every command is idempotent. */
@Injectable()
export class VraLinkService implements OnModuleInit {
  readonly #heartbeats: Heartbeats<VraStatusV1>;
  readonly #listeners: ((status: VraStatusV1) => void)[] = [];

  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    clock: Clock,
  ) {
    this.#heartbeats = new Heartbeats(clock, { role: 'vra', siteId: config.siteId, isStatus: isVraStatus, idOf: ({ vraId }) => vraId });
  }

  onModuleInit(): void {
    this.#heartbeats.listen(this.bus, (status) => {
      for (const listener of this.#listeners) listener(status);
    });
  }

  onStatus(listener: (status: VraStatusV1) => void): void {
    this.#listeners.push(listener);
  }

  /** The last status that arrived, however old. */
  lastStatus(vraId: string): Heartbeat<VraStatusV1> | undefined {
    return this.#heartbeats.last(vraId);
  }

  /** The last status, if it is recent. */
  status(vraId: string): VraStatusV1 | undefined {
    return this.isAlive(vraId) ? this.#heartbeats.last(vraId)?.status : undefined;
  }

  isAlive(vraId: string): boolean {
    return this.#heartbeats.isAlive(vraId);
  }

  /** Since the last heartbeat; Infinity: none since this ZVM started. */
  silenceMs(vraId: string): number {
    return this.#heartbeats.silenceMs(vraId);
  }

  /** What is wrong with its heartbeats and answers, for people. */
  problemWith(vraId: string): string | undefined {
    return this.#heartbeats.problemWith(vraId);
  }

  /** What it answered to that cannot be worked with; `problem`: why, for people, where it is not the form. */
  noteAnswer(vraId: string, topic: VraTopic, problem?: string): void {
    this.#heartbeats.noteAnswer(vraId, topic, problem);
  }

  forget(vraId: string): void {
    this.#heartbeats.forget(vraId);
  }

  async applyState(vraId: string, state: DesiredStateV1): Promise<void> {
    await this.#ask(vraId, 'state.apply', state);
  }

  async putRecovery(vraId: string, recovery: RecoveryV1, timeoutMs?: number): Promise<void> {
    await this.#ask(vraId, 'recovery.put', recovery, timeoutMs);
  }

  async releaseRecovery(vraId: string, release: RecoveryReleaseV1): Promise<void> {
    await this.#ask(vraId, 'recovery.release', release, OPEN_OR_CLOSE_MS);
  }

  async removeRecovery(vraId: string, at: ProtectionAt, what: { readonly isMirrorKept: boolean }): Promise<void> {
    await this.#ask(vraId, 'recovery.remove', { ...at, ...what }, 60_000);
  }

  async openView(vraId: string, view: ViewOpenV1): Promise<void> {
    await this.#ask(vraId, 'view.open', view, 30_000);
  }

  async closeView(vraId: string, view: ViewCloseV1): Promise<void> {
    await this.#ask(vraId, 'view.close', view, 30_000);
  }

  /** @throws ControlError with remoteCode VRA_UNKNOWN_CHECKPOINT, or VRA_CONFLICT for one that is being retired */
  async putPin(vraId: string, pin: PinPutV1): Promise<void> {
    await this.#ask(vraId, 'pin.put', pin, 15_000);
  }

  /** Where there is no recovery any more there is no pin. */
  async dropPin(vraId: string, pin: PinDropV1): Promise<void> {
    await this.#ask(vraId, 'pin.drop', pin, 15_000).catch((error: unknown) => {
      if (!(error instanceof ControlError) || error.remoteCode !== 'VRA_UNKNOWN_PROTECTION') throw error;
    });
  }

  async promoteView(vraId: string, view: ViewPromoteV1): Promise<void> {
    await this.#ask(vraId, 'view.promote', view, 30_000);
  }

  async epoch(vraId: string, verb: 'reserve' | 'commit' | 'burn', at: ProtectionAt): Promise<void> {
    await this.#ask(vraId, `epoch.${verb}`, at, 15_000);
  }

  /** Asks for the next certificate: it comes back with a request of its own. */
  async renewIdentity(vraId: string): Promise<void> {
    await this.#ask(vraId, 'trust.renew', {});
  }

  async forceSync(vraId: string, at: ProtectionAt): Promise<void> {
    await this.#ask(vraId, 'protection.forceSync', at);
  }

  /** @throws ControlError with remoteCode VRA_PRESEED or VRA_PATH */
  async checkPreseed(vraId: string, volume: { readonly path: string; readonly sizeBytes: number }): Promise<void> {
    await this.#ask(vraId, 'preseed.check', volume);
  }

  /** @throws ControlError with remoteCode VRA_NOT_SETTLED */
  async settle(vraId: string, at: ProtectionAt, checkpointId: number): Promise<ProtectionSettledV1> {
    return await this.#ask(vraId, 'protection.settle', { ...at, checkpointId }, 15_000);
  }

  /** One page. */
  async listCheckpoints(vraId: string, ref: ProtectionRef, question: ListingQuestion): Promise<CheckpointListingV1> {
    return await this.#ask(vraId, 'checkpoint.list', { ...ref, ...question });
  }

  async checkpointDisks(vraId: string, ref: ProtectionRef, checkpointId: number): Promise<CheckpointDisksV1> {
    return await this.#ask(vraId, 'checkpoint.disks', { ...ref, checkpointId });
  }

  /** @throws ControlError with remoteCode CHECKPOINT_VOID, CHECKPOINT_FREEZE or CHECKPOINT_NOT_LEADER (message: the leader's vraId) */
  async insertCheckpoint(vraId: string, request: CheckpointInsertV1 & { readonly isApplicationConsistent: boolean }): Promise<CheckpointInsertedV1> {
    return await this.#ask(vraId, 'checkpoint.insert', request, request.isApplicationConsistent ? FREEZE_AND_INSERT_MS : 10_000);
  }

  async #ask<Topic extends VraTopic>(vraId: string, topic: Topic, message: object, timeoutMs = 5000): Promise<VraAnswer<Topic>> {
    const { channel, answer } = VRA_COMMANDS[topic];
    const subject = subjectOf({ siteId: this.config.siteId, service: 'vra', instanceId: vraId, channel, topic });
    try {
      return await this.bus.request(subject, message, answer as Answer<VraAnswer<Topic>>, { timeoutMs });
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      if (error.isRetryable) throw new ZvmError('ZVM_VRA_DOWN', `VRA ${vraId} does not answer (${topic}): ${error.message}`, { cause: error });
      if (error.code === 'CONTROL_INVALID') throw this.#refused(vraId, topic, error);
      throw error;
    }
  }

  #refused(vraId: string, topic: VraTopic, cause: ControlError): ZvmError {
    this.noteAnswer(vraId, topic);
    return badAnswer(`VRA ${vraId}`, topic, cause);
  }
}
