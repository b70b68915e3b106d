import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findLab, type Lab } from '../identity.js';
import { labDown, labKill, labStart, labUp, parseTarget, processesOf } from '../lab.js';
import { LabError } from '../lab-error.js';
import { SITE_NAMES, type SiteName } from '../layout.js';
import { siteApi } from '../rest/connect-sites.js';
import type { SiteApi } from '../rest/site-api.js';
import { type Checkpoint, protect, VPG_STATUS, VpgClient } from '../rest/vpg-client.js';
import { appEntry } from '../servers/node-programs.js';
import { labStatus, type SiteStatus, type VmStatus } from '../status.js';
import { until } from '../until.js';

const SYNC_TIMEOUT_MS = 120_000;

/** A pair of sites for one spec file, on a folder and addresses of its own, beside whatever lab the user has. */
export class SitePair {
  #apis: Partial<Record<SiteName, SiteApi>> = {};

  private constructor(
    readonly environment: Readonly<Record<string, string>>,
    readonly lab: Lab,
  ) {}

  /** Short path: UNIX socket names have little room. Each of Jest's workers has addresses of its own. */
  static async makeEnvironment(subnets = process.env['JEST_WORKER_ID'] === '2' ? '25,26' : '21,22'): Promise<Record<string, string>> {
    const folder = await mkdtemp('/var/tmp/tm-e2e-');
    return { TIDEMARK_LAB_DIR: join(folder, 'lab'), TIDEMARK_LAB_SUBNETS: subnets };
  }

  static async up(): Promise<SitePair> {
    const environment = await SitePair.makeEnvironment();
    try {
      const lab = await labUp(environment, () => undefined);
      return new SitePair(environment, lab);
    } catch (error) {
      await SitePair.remove(environment);
      throw error;
    }
  }

  static async attach(environment: Readonly<Record<string, string>>): Promise<SitePair> {
    const lab = await findLab(environment);
    if (!lab) throw new LabError('LAB_NOT_UP', `no lab in ${environment['TIDEMARK_LAB_DIR'] ?? ''}`);
    return new SitePair(environment, lab);
  }

  static async remove(environment: Readonly<Record<string, string>>): Promise<void> {
    await labDown(environment);
    await rm(join(environment['TIDEMARK_LAB_DIR'] ?? '', '..'), { recursive: true, force: true });
  }

  /** Ends everything and keeps the files. */
  async endProcesses(): Promise<void> {
    await Promise.all(Object.values(this.#apis).map((api) => api.close()));
    this.#apis = {};
    for (let round = 0; round < 2; round++) for (const site of SITE_NAMES) await processesOf(this.lab, site).runner.endAll();
  }

  async down(): Promise<void> {
    await Promise.all(Object.values(this.#apis).map((api) => api.close()));
    await SitePair.remove(this.environment);
  }

  async api(site: SiteName): Promise<SiteApi> {
    const known = this.#apis[site] ?? (await siteApi(this.lab.layout.sites[site]));
    this.#apis = { ...this.#apis, [site]: known };
    return known;
  }

  /** Logs in anew, believing the CA of now. */
  async reconnect(site: SiteName): Promise<void> {
    await this.#apis[site]?.close();
    const { [site]: _ended, ...others } = this.#apis;
    this.#apis = others;
  }

  siteId(site: SiteName): string {
    return this.lab.identity.sites[site].siteId;
  }

  async status(site: SiteName): Promise<SiteStatus> {
    const { sites } = await labStatus(this.lab);
    const found = sites.find((candidate) => candidate.name === site);
    if (!found) throw new LabError('LAB_UNKNOWN', `no site ${site}`);
    return found;
  }

  async vms(site: SiteName): Promise<readonly VmStatus[]> {
    return (await this.status(site)).vms;
  }

  async vm(site: SiteName, name: string): Promise<VmStatus> {
    const found = (await this.vms(site)).find((vm) => vm.name.startsWith(name));
    if (!found) throw new LabError('LAB_UNKNOWN', `site ${site} has no VM ${name}`);
    return found;
  }

  /** `a`, `b/zvm`, … */
  async kill(target: string): Promise<void> {
    await labKill(this.environment, parseTarget(target));
  }

  async start(target: string): Promise<void> {
    await labStart(this.environment, parseTarget(target));
  }

  /** Protects VMs of site a into site b, spread over its hosts, and waits until a checkpoint can be recovered. @returns the VPG's id. */
  async protect(name: string, vmNames: readonly string[]): Promise<string> {
    const vms = (await this.vms('a')).filter((vm) => vmNames.includes(vm.name));
    const hosts = this.lab.layout.sites.b.hosts;
    const hostNameOf = Object.fromEntries(vms.map((vm, index) => [vm.id, hosts[index % hosts.length]?.name ?? '']));
    const vpgId = await protect(await this.api('a'), { name, vmIds: vms.map((vm) => vm.id), recoverySiteId: this.siteId('b'), hostNameOf });
    await this.untilProtected(vpgId);
    return vpgId;
  }

  async untilProtected(vpgId: string): Promise<void> {
    const [protectedSide, recoverySide] = [await this.vpg('a', vpgId), await this.vpg('b', vpgId)];
    await until(
      'the initial sync',
      async () => {
        const [{ Status: status }, checkpoints] = await Promise.all([protectedSide.view(), recoverySide.checkpoints()]);
        return status !== VPG_STATUS.initializing && checkpoints.length > 0 ? true : undefined;
      },
      { timeoutMs: SYNC_TIMEOUT_MS },
    );
  }

  async vpg(site: SiteName, vpgId: string): Promise<VpgClient> {
    return new VpgClient(await this.api(site), vpgId);
  }

  /** The first checkpoint whose time is later than now. */
  async nextCheckpoint(vpg: VpgClient, timeoutMs = 60_000): Promise<Checkpoint> {
    const fromMs = Date.now();
    const find = async (): Promise<Checkpoint | undefined> => (await vpg.checkpoints()).find((checkpoint) => Date.parse(checkpoint.TimeStamp) > fromMs);
    return await until('a new checkpoint', find, { timeoutMs });
  }

  /** VMs that run at the recovery site. */
  async recovered(count: number): Promise<readonly VmStatus[]> {
    return await until(`${count} recovered VMs`, async () => {
      const vms = (await this.vms('b')).filter((vm) => vm.powerState === 'poweredOn');
      return vms.length === count ? vms : undefined;
    });
  }
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to the end of its output: it ends only when nothing keeps its standard streams open any more. */
export function runCommand(command: string, args: readonly string[], environment: Readonly<Record<string, string>> = {}, timeoutMs = 120_000): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(command, [...args], { env: { ...process.env, ...environment }, timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      const exitCode = error ? (typeof error.code === 'number' ? error.code : -1) : 0;
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** Every byte of the disk that is served at `uri`, by way of a file in `folder`. */
export async function copyOut(uri: string, folder: string): Promise<Buffer> {
  const file = join(folder, 'copy.raw');
  await rm(file, { force: true });
  const { exitCode, stderr } = await runCommand('nbdcopy', [uri, file]);
  if (exitCode !== 0) throw new Error(`nbdcopy of ${uri} ended with ${String(exitCode)}: ${stderr}`);
  return await readFile(file);
}

/** `npm run lab -- …`, without npm and the bootstrap. */
export const runLab = (args: readonly string[], environment: Readonly<Record<string, string>>): Promise<CommandResult> =>
  runCommand(process.execPath, [appEntry('lab/dist/main.js'), ...args], environment);

/** What a spec file opened, closed in reverse order: also when opening stopped half-way. */
export class Cleanups {
  readonly #steps: (() => unknown)[] = [];

  push(step: () => unknown): void {
    this.#steps.push(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.reverse()) await step();
  }
}
