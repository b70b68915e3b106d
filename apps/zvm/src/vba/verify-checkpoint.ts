import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { VerificationV1, VerificationVolumeV1, VerifiedVolumeV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, ZvmError } from '../errors.js';
import type { Notes, OperationKind, StepContext } from '../operation/operation-kind.js';
import { OperationService, pause } from '../operation/operation.service.js';
import { newestEpoch } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStore } from '../vra/vra.store.js';
import { VbaLinkService } from './vba-link.service.js';
import { VbaStore } from './vba.store.js';

export interface VerifyCheckpointInput {
  readonly vpgId: string;
  readonly checkpointId: number;
  /** null: any that answers. */
  readonly vbaId: string | null;
  readonly verificationId: string;
  /** With the VRAs of then: what is opened there is closed there, wherever a recovery has gone meanwhile. */
  readonly vms: readonly { readonly vmId: string; readonly vraId: string; readonly viewId: string }[];
}

/** What the steps have noted down when it is complete. */
export interface VerifiedNotes {
  readonly vbaId: string;
  readonly verified: readonly VerifiedVolumeV1[];
  readonly verifiedAtMs: number;
}

const LOOK_MS = 500;
/** Of a VBA: it may be started anew, and begins to read anew then. */
const SILENCE_MS_MAX = 60_000;
/** The open views keep the checkpoint. The pin keeps it until all of them are open, and ends by itself if this ZVM never comes back. */
const PIN_MS = 24 * 3_600_000;

const pinName = ({ verificationId }: VerifyCheckpointInput): string => `verification ${verificationId}`;

/**
 * Has a VBA read every byte of a VPG's disks at a checkpoint, from the recovering VRAs over 9180. Nothing is exclusive: a failover goes first, and ends this. Whatever
 * happens, the views are closed: by the last step, or by the undo of the first one, each repeated until the VRAs have answered, also after a restart of this ZVM.
 */
@Injectable()
export class VerifyCheckpointOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly vras: VraStore,
    private readonly vraLink: VraLinkService,
    private readonly vbas: VbaStore,
    private readonly vbaLink: VbaLinkService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<VerifyCheckpointInput> {
    return {
      kind: 'verifyCheckpoint',
      taskType: 'VerifyCheckpoint',
      isExclusive: false,
      done: ({ input, notes }) => doneText(input, notes),
      steps: {
        openReadViews: {
          do: async ({ input }) => ({ vbaId: this.#chooseVba(input), volumes: await this.#open(input) }),
          undo: async ({ input, notes }) => await this.#close(input, notes),
        },
        readVolumes: { do: async (context) => await this.#read(context) },
        closeReadViews: { do: async ({ input, notes }) => await this.#close(input, notes) },
      },
    };
  }

  #chooseVba({ vbaId }: VerifyCheckpointInput): string {
    if (vbaId !== null) {
      const { name, state } = this.vbas.get(vbaId);
      if (state === 'Removing' || !this.vbaLink.isAlive(vbaId)) throw conflict(`VBA '${name}' ${state === 'Removing' ? 'is being removed' : 'does not answer'}`);
      return vbaId;
    }
    this.vbas.assertLoaded();
    const all = this.vbas.all();
    const alive = all.find((vba) => vba.state === 'Added' && this.vbaLink.isAlive(vba.vbaId));
    if (!alive) throw conflict(all.length === 0 ? 'this site has no VBA: add one first (tidemark vba add)' : `no VBA of this site answers: ${all.map(({ name }) => `'${name}'`).join(', ')}`);
    return alive.vbaId;
  }

  async #open(input: VerifyCheckpointInput): Promise<VerificationVolumeV1[]> {
    const { vpgId, checkpointId, vms } = input;
    this.#assertProtecting(input);
    const { epoch } = this.vpgs.get(vpgId);
    const pin = { name: pinName(input), checkpointId, keepForMs: PIN_MS };
    await Promise.all(vms.map(async ({ vraId, vmId }) => await this.vraLink.putPin(vraId, { vpgId, vmId, epoch, ...pin })));
    const opened = await Promise.all(vms.map(async ({ vmId, vraId, viewId }) => {
      const { disks } = await this.vraLink.checkpointDisks(vraId, { vpgId, vmId }, checkpointId);
      const named = disks.map(({ volume, diskId, sizeBytes }) => ({ diskId, sizeBytes, exportName: `${viewId}-${volume}` }));
      await this.vraLink.openView(vraId, { vpgId, vmId, epoch, viewId, checkpointId, purpose: 'read', volumes: named.map(({ diskId, exportName }) => ({ diskId, exportName })) });
      const { address } = this.vras.get(vraId);
      return named.map((disk): VerificationVolumeV1 => ({ vmId, vraId, address, port: this.config.vraBackupPort, ...disk }));
    }));
    return opened.flat();
  }

  /** Recovered VMs write into what is read: from then on nothing that is read says anything about the checkpoint. */
  #assertProtecting({ vpgId }: VerifyCheckpointInput): void {
    const { state, definition } = this.vpgs.get(vpgId);
    if (state !== 'protecting') throw conflict(`VPG '${definition.name}' is not protecting any more (${state}): the verification has ended`);
  }

  async #read({ input, notes, signal, share }: StepContext<VerifyCheckpointInput>): Promise<Notes | void> {
    const vbaId = String(notes['vbaId']);
    const volumes = notes['volumes'] as readonly VerificationVolumeV1[];
    let heardMs = this.clock.monotonicMs();
    while (!signal.aborted) {
      this.#assertProtecting(input);
      const { name, state } = this.vbas.get(vbaId);
      if (state === 'Removing') throw conflict(`VBA '${name}' is being removed`);
      const seen = await this.#ask(vbaId, input.verificationId, volumes);
      if (seen) heardMs = this.clock.monotonicMs();
      else if (this.clock.monotonicMs() - heardMs > SILENCE_MS_MAX) throw conflict(`VBA '${name}' has not answered for ${SILENCE_MS_MAX / 1000} s`);
      if (seen?.state === 'failed') throw conflict(`VBA '${name}' could not read all of it: ${seen.problem}`);
      if (seen?.state === 'read') {
        assertWhole(volumes, seen.volumes);
        this.#assertProtecting(input);
        return { verified: seen.volumes, verifiedAtMs: this.clock.nowMs() };
      }
      if (seen) await share(seen.readBytes / Math.max(1, seen.totalBytes), `VBA '${name}' has read ${mib(seen.readBytes)} of ${mib(seen.totalBytes)}`);
      await pause(LOOK_MS, signal);
    }
  }

  /** Starts it where it is not known: at the beginning, and when the VBA was started anew. undefined: it does not answer. */
  async #ask(vbaId: string, verificationId: string, volumes: readonly VerificationVolumeV1[]): Promise<VerificationV1 | undefined> {
    try {
      return await this.vbaLink.verification(vbaId, verificationId).catch(async (error: unknown) => {
        if (!(error instanceof ControlError) || error.remoteCode !== 'VBA_UNKNOWN_VERIFICATION') throw error;
        await this.vbaLink.startVerification(vbaId, { verificationId, volumes: [...volumes] });
        return await this.vbaLink.verification(vbaId, verificationId);
      });
    } catch (error) {
      if (error instanceof ZvmError && error.isRetryable) return undefined;
      throw error;
    }
  }

  /** The VBA first, so that it does not complain of volumes that go away; it ends by itself when it cannot be told. */
  async #close(input: VerifyCheckpointInput, notes: Notes): Promise<void> {
    const { vpgId, verificationId, vms } = input;
    const vbaId = notes['vbaId'];
    if (typeof vbaId === 'string') await this.vbaLink.endVerification(vbaId, verificationId).catch(() => undefined);
    // A failover may have begun meanwhile; with the VPG its views are gone, and any number does.
    const record = this.vpgs.find(vpgId);
    const epoch = record ? newestEpoch(record) : 1;
    // A VRA that is not there any more took its views along.
    const there = vms.filter(({ vraId }) => this.vras.find(vraId) !== undefined);
    await Promise.all(there.map(async ({ vraId, vmId, viewId }) => {
      await this.vraLink.closeView(vraId, { viewId, epoch });
      await this.vraLink.dropPin(vraId, { vpgId, vmId, epoch, name: pinName(input) });
    }));
  }
}

const mib = (bytes: number): string => `${Math.floor(bytes / 1_048_576)} MiB`;

/** All that was asked for, in its whole length: what a VBA leaves out it has not verified. */
function assertWhole(wanted: readonly VerificationVolumeV1[], found: readonly VerifiedVolumeV1[]): void {
  const missing = wanted.find(({ vmId, diskId, sizeBytes }) => {
    const volume = found.find((one) => one.vmId === vmId && one.diskId === diskId);
    return volume?.readBytes !== sizeBytes || !/^[0-9a-f]{64}$/.test(volume.sha256);
  });
  if (missing || found.length !== wanted.length) throw conflict(`the VBA's answer does not cover disk ${missing?.diskId ?? '(one too many)'} of VM ${missing?.vmId ?? ''}`);
}

function doneText({ checkpointId, vms }: VerifyCheckpointInput, notes: Notes): string {
  const { verified } = notes as unknown as VerifiedNotes;
  const bytes = verified.reduce((sum, { readBytes }) => sum + readBytes, 0);
  return `checkpoint ${checkpointId} can be read: ${verified.length} ${verified.length === 1 ? 'disk' : 'disks'} of ${vms.length} ${vms.length === 1 ? 'VM' : 'VMs'}, ${mib(bytes)}`;
}
