/** What every hypervisor manager (simulated, libvirt, vSphere, …) offers to a ZVM. Ids are opaque and stable; names are for people. */

export interface HypervisorHost {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly isConnected: boolean;
  readonly datastoreIds: readonly string[];
  readonly networkIds: readonly string[];
  /** Where the host's guests reach their disks: the UNIX socket of the host's VRA. */
  readonly nbdSocketPath: string;
}

export interface Datastore {
  readonly id: string;
  readonly name: string;
  /** Absolute path of its folder, as the hosts see it. */
  readonly path: string;
  readonly capacityBytes: number;
  /** capacity − allocated bytes, never below 0. */
  readonly freeBytes: number;
}

export interface Network {
  readonly id: string;
  readonly name: string;
}

export interface VmFolder {
  readonly id: string;
  readonly name: string;
}

export type PowerState = 'poweredOn' | 'poweredOff';

export interface VmDisk {
  /** `scsi:0:0` */
  readonly id: string;
  readonly sizeBytes: number;
  readonly datastoreId: string;
  /** Absolute path of the raw file that holds it, or will hold it once promotion has ended; or the URI of the NBD export that does (`nbd://host:port/name`, `nbd+unix:///name?socket=/path`). */
  readonly location: string;
  /** NBD export name on the host's VRA. */
  readonly exportName: string;
  /** False while a recovered disk is served from a checkpoint view: the VRA serves it by itself, nothing is attached. */
  readonly isFile: boolean;
}

export interface VmNic {
  readonly id: string;
  readonly networkId: string;
  readonly mac: string;
}

export interface Vm {
  readonly id: string;
  readonly name: string;
  readonly hostId: string;
  readonly folderId: string;
  readonly powerState: PowerState;
  readonly cpuCount: number;
  readonly memoryMiB: number;
  readonly guestOs: string;
  readonly disks: readonly VmDisk[];
  readonly nics: readonly VmNic[];
}

export interface Inventory {
  /** Grows with every change. */
  readonly revision: number;
  readonly hosts: readonly HypervisorHost[];
  readonly datastores: readonly Datastore[];
  readonly networks: readonly Network[];
  readonly folders: readonly VmFolder[];
  readonly vms: readonly Vm[];
}

export interface VmDiskSpec {
  readonly id: string;
  readonly sizeBytes: number;
  readonly datastoreId: string;
  /** Given: that file (created sparse by the hypervisor only when `isFile` and missing), or that NBD export. Absent: the hypervisor chooses a path. */
  readonly location?: string;
  readonly isFile: boolean;
}

export interface VmSpec {
  /** Creating twice with one key gives the same VM: a restarted step makes no second one. */
  readonly requestKey: string;
  readonly name: string;
  readonly hostId: string;
  readonly folderId?: string;
  readonly cpuCount: number;
  readonly memoryMiB: number;
  readonly guestOs: string;
  readonly disks: readonly VmDiskSpec[];
  readonly nics: readonly { readonly networkId: string; readonly mac?: string }[];
}

export interface ApplianceSpec {
  readonly vraId: string;
  readonly hostId: string;
  readonly datastoreId: string;
  readonly networkId: string;
  /** Name in the process list and in the inventory: `Z-VRA-<host>`. */
  readonly name: string;
  readonly siteId: string;
  readonly natsUrl: string;
  readonly memoryMiB: number;
  /** One-time, for this VRA on this host: the appliance finds it in a file of its own at its first start. A secret until it is used. */
  readonly enrolmentToken: string;
}

/** A change is a reason to read the inventory again, not a diff: a reader that missed one loses nothing. */
export interface InventoryChange {
  readonly revision: number;
}

export interface HypervisorManager {
  inventory(): Promise<Inventory>;
  createVm(spec: VmSpec): Promise<Vm>;
  /** Unknown VM: done already. Disk files stay when `areDisksKept`. A powered-on VM is refused (HYPERVISOR_STATE). */
  deleteVm(vmId: string, options: { readonly areDisksKept: boolean }): Promise<void>;
  powerOn(vmId: string): Promise<void>;
  /** `isForced` false asks the guest to shut down first. */
  powerOff(vmId: string, options: { readonly isForced: boolean }): Promise<void>;
  /**
   * Moves a VM to another host of the site, running or not; its disks stay where they are. On that host already: done. HYPERVISOR_STATE when the host
   * is not connected or does not see a datastore of the VM. A running guest's open requests end on the new host's socket.
   */
  migrateVm(vmId: string, target: { readonly hostId: string }): Promise<void>;
  /** Adds a disk, to a running VM too. A disk of that id and size that is there already is taken for an earlier try; of another size: HYPERVISOR_STATE. */
  addDisk(vmId: string, disk: VmDiskSpec): Promise<VmDisk>;
  /** Makes a disk larger, under a running VM too; the new part reads as zeroes. Smaller is refused (HYPERVISOR_INVALID), the same size is done already. */
  growDisk(vmId: string, disk: { readonly diskId: string; readonly sizeBytes: number }): Promise<void>;
  /** Takes a disk from a VM, running or not, and deletes its file unless it is kept. Unknown disk: done already. A later disk of the same id is another disk. */
  removeDisk(vmId: string, disk: { readonly diskId: string; readonly isFileKept: boolean }): Promise<void>;
  /** Disks of a recovered VM become plain files after promotion. */
  markDisksAsFiles(vmId: string): Promise<void>;
  /** Starts the VRA of a host; idempotent by vraId. Resolves when the process runs, not when it answers. */
  deployAppliance(spec: ApplianceSpec): Promise<void>;
  removeAppliance(vraId: string): Promise<void>;
  /** Ends when `signal` aborts; reconnects by itself; yields once at the start. */
  watch(signal: AbortSignal): AsyncIterable<InventoryChange>;
}
