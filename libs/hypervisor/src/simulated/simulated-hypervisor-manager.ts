import { Agent } from 'node:https';
import { HypervisorError } from '../hypervisor-error.js';
import type { ApplianceSpec, HypervisorManager, Inventory, InventoryChange, Vm, VmDisk, VmDiskSpec, VmSpec } from '../port.js';
import { type Answer, httpsCall, type HypervisorAccess } from './https-call.js';
import { API_PREFIX, changeSchema, errorBodySchema, POLL_MS } from './wire.js';

const CALL_TIMEOUT_MS = 30_000;
const RECONNECT_MS = 500;

/** Adapter for a simulated hypervisor manager that runs in a process of its own. */
export class SimulatedHypervisorManager implements HypervisorManager {
  /** A handshake for each of the 200 calls of a failover of 100 VMs was half of what the ZVM did meanwhile. */
  readonly #agent = new Agent({ keepAlive: true });

  /** @param url e.g. `https://127.0.1.2:9440` */
  constructor(
    readonly url: string,
    private readonly access: HypervisorAccess,
  ) {}

  inventory(): Promise<Inventory> {
    return this.#call('GET', '/inventory') as Promise<Inventory>;
  }

  createVm(spec: VmSpec): Promise<Vm> {
    return this.#call('POST', '/vms', { body: spec }) as Promise<Vm>;
  }

  async deleteVm(vmId: string, { areDisksKept }: { readonly areDisksKept: boolean }): Promise<void> {
    await this.#call('DELETE', `/vms/${encodeURIComponent(vmId)}?areDisksKept=${areDisksKept}`);
  }

  async powerOn(vmId: string): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/power`, { body: { powerState: 'poweredOn', isForced: false } });
  }

  async powerOff(vmId: string, { isForced }: { readonly isForced: boolean }): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/power`, { body: { powerState: 'poweredOff', isForced } });
  }

  async migrateVm(vmId: string, target: { readonly hostId: string }): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/migrate`, { body: target });
  }

  addDisk(vmId: string, disk: VmDiskSpec): Promise<VmDisk> {
    return this.#call('POST', `/vms/${encodeURIComponent(vmId)}/disk-add`, { body: disk }) as Promise<VmDisk>;
  }

  async growDisk(vmId: string, disk: { readonly diskId: string; readonly sizeBytes: number }): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/disk-grow`, { body: disk });
  }

  async removeDisk(vmId: string, disk: { readonly diskId: string; readonly isFileKept: boolean }): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/disk-remove`, { body: disk });
  }

  async markDisksAsFiles(vmId: string): Promise<void> {
    await this.#call('POST', `/vms/${encodeURIComponent(vmId)}/disks-as-files`);
  }

  async deployAppliance(spec: ApplianceSpec): Promise<void> {
    await this.#call('POST', '/appliances', { body: spec });
  }

  async removeAppliance(vraId: string): Promise<void> {
    await this.#call('DELETE', `/appliances/${encodeURIComponent(vraId)}`);
  }

  /** Long polls. After a failure it yields again: what changed meanwhile is not known, and reading again costs little. */
  async *watch(signal: AbortSignal): AsyncGenerator<InventoryChange> {
    const isWanted = (): boolean => !signal.aborted;
    for (let seen = -1; isWanted(); ) {
      const change = await this.#poll(seen, signal);
      if (change === undefined) await pause(RECONNECT_MS, signal);
      else if (change.revision !== seen && isWanted()) yield change;
      seen = change?.revision ?? -1;
    }
  }

  async #poll(after: number, signal: AbortSignal): Promise<InventoryChange | undefined> {
    try {
      return changeSchema.parse(await this.#call('GET', `/changes?after=${after}`, { signal, timeoutMs: POLL_MS + 5000 }));
    } catch {
      return undefined; // Unreachable, restarting or aborted: the loop tries for as long as it is wanted.
    }
  }

  async #call(method: string, path: string, options: { readonly body?: unknown; readonly signal?: AbortSignal; readonly timeoutMs?: number } = {}): Promise<unknown> {
    const deadline = AbortSignal.timeout(options.timeoutMs ?? CALL_TIMEOUT_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
    let answer: Answer;
    try {
      answer = await httpsCall(`${this.url}${API_PREFIX}${path}`, { method, signal, body: options.body, agent: this.#agent }, this.access);
    } catch (cause) {
      throw new HypervisorError('HYPERVISOR_UNREACHABLE', `the hypervisor manager at ${this.url} does not answer: ${(cause as Error).message}`, { cause });
    }
    if (answer.isOk) return answer.body;
    const refusal = errorBodySchema.safeParse(answer.body);
    if (refusal.success) throw new HypervisorError(refusal.data.code, refusal.data.message);
    throw new HypervisorError('HYPERVISOR_UNREACHABLE', `the hypervisor manager at ${this.url} answered ${answer.status}`);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, signal.aborted ? 0 : ms);
    signal.addEventListener('abort', done);
  });
}
