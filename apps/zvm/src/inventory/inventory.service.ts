import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { shownText } from '@tidemark/base';
import { type HypervisorManager, HypervisorError, type Inventory } from '@tidemark/hypervisor';
import { Clock } from '../clock.js';
import { messageOf, ZvmError } from '../errors.js';

/** Nest injection token of the site's {@link HypervisorManager}. */
export const HYPERVISOR = Symbol('HypervisorManager');

const RETRY_MS = 1000;
/** Free space of datastores changes without an inventory change. */
const REFRESH_MS = 10_000;

/** The newest inventory of this site's hypervisor manager, followed through its change stream. */
@Injectable()
export class InventoryService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(InventoryService.name);
  readonly #stop = new AbortController();
  readonly #listeners: (() => void)[] = [];
  #inventory: Inventory | undefined;
  #problem: string | null = 'not read yet';
  #problemSinceMs = 0;
  #following: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(
    @Inject(HYPERVISOR) readonly hypervisor: HypervisorManager,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    this.#problemSinceMs = this.clock.monotonicMs();
    this.#following = this.#follow();
    this.#timer = setInterval(() => void this.refresh().catch(() => undefined), REFRESH_MS);
  }

  /** Called after each change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** The newest that was read, also while the manager is away; undefined until the first. */
  get current(): Inventory | undefined {
    return this.#inventory;
  }

  /** Why the hypervisor manager does not answer, and since when; null when it does. */
  get problem(): { readonly text: string; readonly ageMs: number } | null {
    return this.#problem === null ? null : { text: this.#problem, ageMs: this.clock.monotonicMs() - this.#problemSinceMs };
  }

  /** @throws ZvmError ZVM_HYPERVISOR_DOWN when nothing could be read yet */
  get(): Inventory {
    if (!this.#inventory) throw new ZvmError('ZVM_HYPERVISOR_DOWN', `the hypervisor manager of this site does not answer: ${this.#problem ?? ''}`);
    return this.#inventory;
  }

  /** Reads it now. @throws HypervisorError */
  async refresh(): Promise<Inventory> {
    try {
      const inventory = withShownNames(await this.hypervisor.inventory());
      this.#inventory = inventory;
      if (this.#problem !== null) this.#log.log(`hypervisor manager answers: ${inventory.hosts.length} hosts, ${inventory.vms.length} VMs`);
      this.#problem = null;
      for (const listener of this.#listeners) listener();
      return inventory;
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const _change of this.hypervisor.watch(signal)) await this.refresh();
      } catch (error) {
        this.#failed(error);
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #failed(error: unknown): void {
    if (this.#stop.signal.aborted) return;
    if (this.#problem === null) {
      this.#problemSinceMs = this.clock.monotonicMs();
      const isExpected = error instanceof HypervisorError;
      this.#log.warn(`hypervisor manager does not answer: ${messageOf(error)}`, isExpected ? undefined : (error as Error).stack);
    }
    this.#problem = messageOf(error);
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#following;
  }
}

/** Names that others gave, some of them users of the VMs alone: they come to logs, terminals and tables of this site and of its peers. */
function withShownNames(inventory: Inventory): Inventory {
  const shown = <T extends { readonly name: string }>(items: readonly T[]): T[] => items.map((item) => ({ ...item, name: shownText(item.name) }));
  const { hosts, datastores, networks, folders } = inventory;
  const vms = shown(inventory.vms).map((vm) => ({ ...vm, guestOs: shownText(vm.guestOs) }));
  return { ...inventory, hosts: shown(hosts), datastores: shown(datastores), networks: shown(networks), folders: shown(folders), vms };
}
