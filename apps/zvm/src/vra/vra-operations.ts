import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { VraCreateDataApi } from '@tidemark/contracts';
import type { HypervisorHost } from '@tidemark/hypervisor';
import { randomInt } from 'node:crypto';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, notFound, ZvmError } from '../errors.js';
import { Enrolment, type MadeToken } from '../enrolment/enrolment.service.js';
import { InventoryService } from '../inventory/inventory.service.js';
import type { OperationKind } from '../operation/operation-kind.js';
import { OperationService, pause } from '../operation/operation.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { VraLinkService } from './vra-link.service.js';
import type { VraRecord, VraSettings } from './vra-model.js';
import { VraStore } from './vra.store.js';

/** A VRA process that has started must be heard of within this time. */
const FIRST_HEARTBEAT_MS = 60_000;
const MEMORY_GB_DEFAULT = 3;
const VRA_ID_MAX = 2 ** 47;

interface InstallInput {
  readonly vraId: string;
  readonly hostId: string;
  readonly name: string;
  readonly address: string;
  readonly settings: VraSettings;
}

interface UninstallInput {
  readonly vraId: string;
  readonly name: string;
}

/** Installing and removing the VRA of a host, through the hypervisor manager. */
@Injectable()
export class VraOperations implements OnModuleInit {
  constructor(
    private readonly vras: VraStore,
    private readonly link: VraLinkService,
    private readonly inventory: InventoryService,
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly enrolment: Enrolment,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#installKind());
    this.operations.register(this.#uninstallKind());
  }

  /** Answers the task id. @throws ZvmError ZVM_INVALID, ZVM_CONFLICT */
  async install(wish: VraCreateDataApi, initiatedBy: string): Promise<string> {
    const inventory = await this.inventory.refresh();
    const host = inventory.hosts.find(({ id }) => id === wish.HostIdentifier);
    if (!host) throw notFound('host', wish.HostIdentifier);
    if (!host.datastoreIds.includes(wish.DatastoreIdentifier)) throw invalid(`host ${host.name} does not see datastore ${wish.DatastoreIdentifier}`);
    if (!host.networkIds.includes(wish.NetworkIdentifier)) throw invalid(`host ${host.name} is not on network ${wish.NetworkIdentifier}`);
    await this.#assertNone(host);
    const input: InstallInput = {
      vraId: String(randomInt(1, VRA_ID_MAX)), hostId: host.id, name: `Z-VRA-${host.name}`, address: host.address, settings: settingsOf(wish, host.name),
    };
    // The row is the reservation of the host: its unique index refuses a second request.
    await this.#putRow(input);
    return await this.operations.begin({ kind: 'installVra', input, vpgId: null, initiatedBy, related: { hostIds: [host.id] } });
  }

  /** A row without its operation is what a kill between the two left: it reserves nothing. */
  async #assertNone(host: HypervisorHost): Promise<void> {
    const vra = this.vras.onHost(host.id);
    if (!vra) return;
    const isUnderWay = this.operations.inputsOf('installVra').some((input) => (input as InstallInput).vraId === vra.vraId);
    if (vra.state !== 'Installing' || isUnderWay) throw conflict(`host ${host.name} has a VRA already`);
    await this.vras.remove(vra.vraId);
  }

  async #putRow({ vraId, hostId, name, address, settings }: InstallInput): Promise<void> {
    await this.vras.put({ vraId, hostId, name, state: 'Installing', settings, address, revision: 0, stateDigest: '', createdAtMs: this.clock.nowMs() });
  }

  #installKind(): OperationKind<InstallInput> {
    return {
      kind: 'installVra',
      taskType: 'InstallVra',
      isExclusive: false,
      done: ({ input }) => `${input.name} is installed`,
      steps: {
        deployAppliance: {
          do: async ({ input, initiatedBy }) => {
            // Done again after a kill, a first token may be on its way to the host: it stays good beside this one, until one of them is used.
            const { text: enrolmentToken } = await this.enrolment.makeToken({ role: 'vra', instanceId: input.vraId, hostId: input.hostId }, initiatedBy);
            await this.inventory.hypervisor.deployAppliance({
              vraId: input.vraId, hostId: input.hostId, datastoreId: input.settings.datastoreId, networkId: input.settings.networkId, name: input.name,
              siteId: this.config.siteId, natsUrl: this.config.natsUrl, memoryMiB: input.settings.memoryGb * 1024, enrolmentToken,
            });
          },
          undo: async ({ input }) => {
            await this.inventory.hypervisor.removeAppliance(input.vraId);
            await this.enrolment.expel({ role: 'vra', instanceId: input.vraId });
            await this.vras.remove(input.vraId);
          },
        },
        awaitHeartbeat: { do: async ({ input, signal }) => await this.#untilHeard(input, signal) },
        registerVra: {
          do: async ({ input }) => await this.vras.update(input.vraId, (vra) => ({ ...vra, state: 'Installed', address: this.#addressOf(vra) })),
        },
      },
    };
  }

  #addressOf(vra: VraRecord): string {
    const shown = this.link.status(vra.vraId)?.address;
    return shown === undefined || shown === '' ? vra.address : shown;
  }

  async #untilHeard({ vraId, name }: InstallInput, signal: AbortSignal): Promise<void> {
    const until = this.clock.monotonicMs() + FIRST_HEARTBEAT_MS;
    while (!this.link.isAlive(vraId) && !signal.aborted) {
      if (this.clock.monotonicMs() > until) throw new ZvmError('ZVM_CONFLICT', `${name} runs, but sends no heartbeat within ${FIRST_HEARTBEAT_MS / 1000} s`);
      await pause(200, signal);
    }
  }

  /** Answers the task id. @throws ZvmError ZVM_CONFLICT while it protects or recovers anything */
  async uninstall(vraId: string, initiatedBy: string): Promise<string> {
    const vra = this.vras.get(vraId);
    const users = this.usersOf(vra);
    if (users.length > 0) throw conflict(`${vra.name} is in use by ${users.join(', ')}; move or delete these first`);
    const input: UninstallInput = { vraId, name: vra.name };
    return await this.operations.begin({ kind: 'uninstallVra', input, vpgId: null, initiatedBy, related: { hostIds: [vra.hostId] } });
  }

  /** Lets a VRA in anew whose identity has expired or was lost. @throws ZvmError ZVM_NOT_FOUND, ZVM_CONFLICT while it is being removed */
  async enrolmentToken(vraId: string, madeBy: string): Promise<MadeToken> {
    const vra = this.vras.get(vraId);
    if (vra.state === 'Removing') throw conflict(`${vra.name} is being removed`);
    return await this.enrolment.makeToken({ role: 'vra', instanceId: vra.vraId, hostId: vra.hostId }, madeBy);
  }

  /** Names of the VPGs that need this VRA. */
  usersOf(vra: VraRecord): string[] {
    const runningHere = new Set(this.inventory.current?.vms.filter((vm) => vm.hostId === vra.hostId).map((vm) => vm.id));
    return this.vpgs.visible().filter(({ definition }) => {
      const isRecovering = definition.recoverySiteId === this.config.siteId && definition.vms.some((vm) => vm.recoveringVra.vraId === vra.vraId);
      const isProtecting = definition.protectedSiteId === this.config.siteId && definition.vms.some((vm) => runningHere.has(vm.vmId));
      return isRecovering || isProtecting;
    }).map(({ definition }) => `VPG ${definition.name}`);
  }

  #uninstallKind(): OperationKind<UninstallInput> {
    return {
      kind: 'uninstallVra',
      taskType: 'UninstallVra',
      isExclusive: false,
      done: ({ input }) => `${input.name} is removed`,
      steps: {
        retireVra: {
          do: async ({ input }) => await this.vras.update(input.vraId, (vra) => ({ ...vra, state: 'Removing' })),
          undo: async ({ input }) => await this.vras.update(input.vraId, (vra) => ({ ...vra, state: 'Installed' })),
        },
        removeAppliance: { do: async ({ input }) => await this.inventory.hypervisor.removeAppliance(input.vraId) },
        forgetVra: {
          do: async ({ input }) => {
            await this.enrolment.expel({ role: 'vra', instanceId: input.vraId });
            await this.vras.remove(input.vraId);
            this.link.forget(input.vraId);
          },
        },
      },
    };
  }
}

function settingsOf(wish: VraCreateDataApi, hostName: string): VraSettings {
  const network = wish.VraNetworkDataApi;
  return {
    hostName,
    datastoreId: wish.DatastoreIdentifier,
    networkId: wish.NetworkIdentifier,
    groupName: wish.GroupName ?? 'default_group',
    memoryGb: wish.MemoryInGb ?? MEMORY_GB_DEFAULT,
    cpuCount: wish.NumOfCpus ?? 1,
    network: {
      type: network?.VraIPConfigurationTypeApi ?? 'Static',
      address: network?.VraIPAddress ?? null,
      subnetMask: network?.SubnetMask ?? null,
      gateway: network?.DefaultGateway ?? null,
    },
  };
}
