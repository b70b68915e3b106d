import { GuestAgentServer, guestAgentSocketPath } from '@tidemark/engine-host';
import { guestAgentFolder } from '../layout.js';
import type { VmStatus } from '../status.js';
import type { LaneMarks, Workload } from './workload.js';

interface VmAgent {
  readonly vm: VmStatus;
  readonly server: GuestAgentServer;
}

const socketOf = ({ disks }: VmStatus): string => new URL(disks[0]?.nbdUri ?? '').searchParams.get('socket') ?? '';

/** A guest agent in each VM that a workload writes, where the VRA of its host looks for it (docs/spec/guest-agent.md): frozen, the VM's guests write nothing. */
export class WorkloadAgents {
  /** VMs that hang when they are to freeze, as an application does that never gets to flush. */
  readonly hanging = new Set<string>();
  #agents: readonly VmAgent[] = [];
  readonly #frozen = new Set<string>();
  /** What every lane had completed when the last VM was frozen, with all VMs frozen. */
  frozenAt: LaneMarks | undefined;
  readonly freezeCounts = new Map<string, number>();
  readonly thawCounts = new Map<string, number>();

  private constructor(private readonly workload: Workload) {}

  static async start(workload: Workload, vms: readonly VmStatus[]): Promise<WorkloadAgents> {
    const agents = new WorkloadAgents(workload);
    const written = vms.filter((vm) => workload.guestsOf(vm).length > 0);
    agents.#agents = await Promise.all(written.map(async (vm) => ({ vm, server: await agents.#listen(vm, written.length) })));
    return agents;
  }

  get isFrozen(): boolean {
    return this.#frozen.size > 0;
  }

  #listen(vm: VmStatus, vmCount: number): Promise<GuestAgentServer> {
    const guests = this.workload.guestsOf(vm);
    return GuestAgentServer.listen(guestAgentSocketPath(guestAgentFolder(socketOf(vm)), vm.id), {
      freeze: async () => {
        if (this.hanging.has(vm.name)) return await new Promise<never>(() => undefined);
        await Promise.all(guests.map(async (guest) => await guest.freeze()));
        this.#frozen.add(vm.name);
        count(this.freezeCounts, vm.name);
        if (this.#frozen.size === vmCount) this.frozenAt = this.workload.completed();
      },
      thaw: () => {
        for (const guest of guests) guest.thaw();
        this.#frozen.delete(vm.name);
        count(this.thawCounts, vm.name);
      },
    });
  }

  async close(): Promise<void> {
    for (const { vm, server } of this.#agents) {
      await server.close();
      for (const guest of this.workload.guestsOf(vm)) guest.thaw();
    }
  }
}

const count = (counts: Map<string, number>, name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
