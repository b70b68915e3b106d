import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '@tidemark/base';
import { SocketGuestAgents, VraEngine, type AgeClockOptions, type BarrierSpec, type DesiredState, type Logger, type ProtectionSpec, type RecoverySpec } from '@tidemark/engine-host';
import { SITE_ID, TestSite } from './test-site.js';

const run = promisify(execFile);

/** Only what a test should see when it fails. */
export const quietLog: Logger = {
  info: () => undefined,
  warn: () => undefined,
  error: (fields, message) => console.error(message, fields),
};

export interface RigVm {
  readonly vmId: string;
  /** Index of the protecting VRA. */
  readonly host: number;
  /** Index of the recovering VRA. */
  readonly recoveryHost: number;
  readonly diskBytes: readonly number[];
}

export interface RigOptions {
  readonly protectingCount: number;
  readonly recoveringCount: number;
  readonly vms: readonly RigVm[];
  readonly intervalMs?: number;
  readonly historyMs?: number;
  readonly isCompressed?: boolean;
  /** Where a protected disk is found, of its file; default: the file itself. */
  readonly pathOf?: (file: string) => string;
  /** The files of the protected disks are there; nobody has opened them yet. */
  readonly onDisks?: (files: readonly string[]) => Promise<void>;
  /** Nobody is told anything: disks and VRAs are there, the test does the rest. */
  readonly isUnprotected?: boolean;
  /** Of every VRA; 0: any free one. */
  readonly backupPort?: number;
  /** Of every VRA. */
  readonly ageClock?: Omit<AgeClockOptions, 'log'>;
}

/** Protecting and recovering VRAs as engines in this process, on loopback sockets and real files. */
export class VraRig {
  readonly vpgId = randomUUID();
  readonly protecting: VraEngine[] = [];
  readonly recovering: VraEngine[] = [];
  #revision = 1;
  /** Where VMs run now that have moved. */
  readonly #movedTo = new Map<string, number>();
  #barrierVersion = 1;

  private constructor(
    readonly folder: string,
    readonly options: RigOptions,
  ) {}

  static async start(options: RigOptions): Promise<VraRig> {
    const rig = new VraRig(await mkdtemp(join(tmpdir(), 'tidemark-rig-')), options);
    for (let index = 0; index < options.protectingCount; index += 1) rig.protecting.push(await rig.startVra('p', index));
    for (let index = 0; index < options.recoveringCount; index += 1) rig.recovering.push(await rig.startVra('r', index));
    await rig.#makeDisks();
    await options.onDisks?.(options.vms.flatMap(({ vmId, diskBytes }) => diskBytes.map((_, disk) => rig.diskPath(vmId, disk))));
    if (options.isUnprotected !== true) for (const index of rig.protecting.keys()) await rig.apply(index, { isProtected: false });
    return rig;
  }

  async startVra(role: 'p' | 'r', index: number, ports: { readonly control?: number; readonly data?: number } = {}): Promise<VraEngine> {
    const name = `${role}${String(index)}`;
    return await VraEngine.start({
      vraId: name,
      transport: await (await TestSite.in(this.folder)).transport(name),
      address: '127.0.0.1',
      controlPort: ports.control ?? 0,
      dataPort: ports.data ?? 0,
      ...(this.options.backupPort === undefined ? {} : { backupPort: this.options.backupPort }),
      nbdSocketPath: this.socketPath(role, index),
      stateFolder: join(this.folder, name, 'state'),
      captureBytesMax: 64 * MiB,
      ageClock: this.options.ageClock,
      guestAgents: new SocketGuestAgents(this.guestAgentFolder(role, index)),
      log: quietLog,
    });
  }

  /** Ends the engine in good order and starts it again on the same files and ports. */
  async restart(role: 'p' | 'r', index: number): Promise<void> {
    await this.stop(role, index);
    await this.startAgain(role, index);
  }

  async stop(role: 'p' | 'r', index: number): Promise<void> {
    await this.#vra(role, index).close();
  }

  async startAgain(role: 'p' | 'r', index: number): Promise<void> {
    const { controlPort, dataPort } = this.#vra(role, index).address;
    const list = role === 'p' ? this.protecting : this.recovering;
    list[index] = await this.startVra(role, index, { control: controlPort, data: dataPort });
  }

  socketPath(role: 'p' | 'r', index: number): string {
    return join(this.folder, `${role}${String(index)}.sock`);
  }

  guestAgentFolder(role: 'p' | 'r', index: number): string {
    return join(this.folder, `${role}${String(index)}-agents`);
  }

  diskPath(vmId: string, disk: number): string {
    return join(this.folder, 'protected', `${vmId}-${String(disk)}.raw`);
  }

  uri(role: 'p' | 'r', index: number, exportName: string): string {
    return `nbd+unix:///${exportName}?socket=${this.socketPath(role, index)}`;
  }

  async #makeDisks(): Promise<void> {
    await mkdir(join(this.folder, 'protected'), { recursive: true });
    for (const vm of this.options.vms) {
      for (const [disk, sizeBytes] of vm.diskBytes.entries()) {
        const file = await open(this.diskPath(vm.vmId, disk), 'w');
        await file.truncate(sizeBytes);
        await file.close();
      }
    }
  }

  hostOf({ vmId, host }: RigVm): number {
    return this.#movedTo.get(vmId) ?? host;
  }

  /** The hypervisor has moved the VM: {@link apply} tells the VRAs, in any order. */
  move(vmId: string, host: number): void {
    this.#movedTo.set(vmId, host);
    this.#barrierVersion += 1;
  }

  #vra(role: 'p' | 'r', index: number): VraEngine {
    const vra = (role === 'p' ? this.protecting : this.recovering)[index];
    if (!vra) throw new RangeError(`no VRA ${role}${String(index)}`);
    return vra;
  }

  #desired(index: number, isProtected: boolean): DesiredState {
    const vms = this.options.vms.filter((vm) => this.hostOf(vm) === index);
    const attachedVms = vms.map(({ vmId, diskBytes }) => ({
      vmId,
      disks: diskBytes.map((sizeBytes, disk) => ({ diskId: `scsi:0:${String(disk)}`, exportName: `${vmId}-${String(disk)}`, path: (this.options.pathOf ?? String)(this.diskPath(vmId, disk)), sizeBytes })),
    }));
    const protections = vms.map((vm): ProtectionSpec => ({
      vpgId: this.vpgId,
      vmId: vm.vmId,
      epoch: 1,
      diskIds: vm.diskBytes.map((_, disk) => `scsi:0:${String(disk)}`),
      recoveringVra: this.#vra('r', vm.recoveryHost).address,
      recoverySiteId: SITE_ID,
      isCompressed: this.options.isCompressed ?? false,
      priority: 'medium',
    }));
    this.#revision += 1;
    const barriers = vms.length > 0 ? [this.#barrier()] : [];
    return { revision: this.#revision, attachedVms, protections: isProtected ? protections : [], barriers: isProtected ? barriers : [] };
  }

  #barrier(): BarrierSpec {
    const hosts = [...new Set(this.options.vms.map((vm) => this.hostOf(vm)))];
    const members = hosts.map((host) => ({
      vra: this.#vra('p', host).address,
      vmIds: this.options.vms.filter((vm) => this.hostOf(vm) === host).map(({ vmId }) => vmId),
    }));
    return { vpgId: this.vpgId, version: this.#barrierVersion, epoch: 1, intervalMs: this.options.intervalMs ?? 300, members };
  }

  /** @param options.isFenced every VM of that host is another site's */
  async apply(index: number, { isProtected, isPaused = false, isFenced = false }: { readonly isProtected: boolean; readonly isPaused?: boolean; readonly isFenced?: boolean }): Promise<void> {
    const desired = this.#desired(index, isProtected);
    const attachedVms = desired.attachedVms.map((spec) => ({ ...spec, isFenced }));
    await this.#vra('p', index).applyDesiredState({ ...desired, attachedVms, protections: desired.protections.map((spec) => ({ ...spec, isPaused })) });
  }

  mirrorPath(vmId: string, disk: number): string {
    return join(this.folder, 'recovery', `${vmId}-${String(disk)}.mirror`);
  }

  recoverySpec(vm: RigVm): RecoverySpec {
    const hosts = [...new Set(this.options.vms.map(({ recoveryHost }) => recoveryHost))];
    return {
      vpgId: this.vpgId,
      vmId: vm.vmId,
      protectedSiteId: SITE_ID,
      epoch: 1,
      recoverers: hosts.map((host) => ({
        vra: this.#vra('r', host).address,
        vmIds: this.options.vms.filter(({ recoveryHost }) => recoveryHost === host).map(({ vmId }) => vmId),
      })),
      volumes: vm.diskBytes.map((sizeBytes, disk) => ({ diskId: `scsi:0:${String(disk)}`, sizeBytes, mirrorPath: this.mirrorPath(vm.vmId, disk) })),
      journalFolder: join(this.folder, 'recovery', `${vm.vmId}-journal`),
      datastore: { path: join(this.folder, 'recovery'), capacityBytes: 20 * 1024 * MiB },
      historyMs: this.options.historyMs ?? 3_600_000,
    };
  }

  /** Recovery first, as the ZVM does it: then the streams find somebody who knows them. */
  async protect(): Promise<void> {
    for (const vm of this.options.vms) await this.#vra('r', vm.recoveryHost).putRecovery(this.recoverySpec(vm));
    for (const index of this.protecting.keys()) await this.apply(index, { isProtected: true });
  }

  /** Checkpoints that the VM's journal holds, oldest first. */
  heldBy(vmId: string): number[] {
    const vm = this.options.vms.find((each) => each.vmId === vmId);
    if (!vm) throw new RangeError(`no VM ${vmId}`);
    return this.#vra('r', vm.recoveryHost).listCheckpoints({ vpgId: this.vpgId, vmId }).held.map(({ checkpointId }) => checkpointId);
  }

  /** Checkpoints that every VM's journal holds, oldest first. */
  listed(): number[] {
    const [first = [], ...others] = this.options.vms.map(({ vmId }) => this.heldBy(vmId));
    return first.filter((id) => others.every((list) => list.includes(id)));
  }

  /** The first of {@link listed} that was taken after `sinceMs` (wall clock): on a slow machine one may be on its way for longer than it takes to make two more. */
  listedSince(sinceMs: number): number | undefined {
    const listed = this.listed();
    const [vm] = this.options.vms;
    if (!vm) return undefined;
    const { held } = this.#vra('r', vm.recoveryHost).listCheckpoints({ vpgId: this.vpgId, vmId: vm.vmId });
    return held.find(({ checkpointId, atMs }) => atMs > sinceMs && listed.includes(checkpointId))?.checkpointId;
  }

  /** A view of every VM at the checkpoint; exports are called `<vmId>-<disk>-at-<checkpoint>`. */
  async openViews(checkpointId: number, purpose: 'test' | 'live' = 'test'): Promise<{ readonly viewIds: readonly string[] }> {
    const viewIds: string[] = [];
    for (const vm of this.options.vms) {
      const viewId = randomUUID();
      viewIds.push(viewId);
      const volumes = vm.diskBytes.map((_, disk) => ({ diskId: `scsi:0:${String(disk)}`, exportName: `${vm.vmId}-${String(disk)}-at-${String(checkpointId)}` }));
      await this.#vra('r', vm.recoveryHost).openView({ viewId, vpgId: this.vpgId, vmId: vm.vmId, checkpointId, purpose, volumes });
    }
    return { viewIds };
  }

  /** The whole export, read by nbdcopy. */
  async image(uri: string): Promise<Buffer> {
    const path = join(this.folder, `copy-${randomUUID()}`);
    await run('nbdcopy', [uri, path]);
    const bytes = await readFile(path);
    await rm(path);
    return bytes;
  }

  async close(): Promise<void> {
    for (const vra of [...this.protecting, ...this.recovering]) await vra.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Polls until `probe` gives something other than undefined or false; throws with `what` after `timeoutMs`. */
export async function until<T>(what: string, probe: () => T | undefined | false, timeoutMs = 20_000): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadlineMs) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Runs qemu-io commands against an export; throws with its output when one fails. */
export async function qemuIo(uri: string, ...commands: readonly string[]): Promise<string> {
  const { stdout } = await run('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri]);
  if (/failed|error|Pattern verification/i.test(stdout)) throw new Error(stdout);
  return stdout;
}
