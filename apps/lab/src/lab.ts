import { rm } from 'node:fs/promises';
import { LabError } from './lab-error.js';
import { findLab, findOrMakeLab, type Lab } from './identity.js';
import { isSiteName, SITE_NAMES, type SiteName } from './layout.js';
import { withLabLock } from './lab-lock.js';
import { NbdGuest } from './guest/nbd-guest.js';
import { installVras, pairSites, siteApi } from './rest/connect-sites.js';
import { settleAll } from './settle-all.js';
import { SiteProcesses } from './site-processes.js';
import { labStatus, type LabStatus, type VmStatus } from './status.js';
import { writeStatusFile } from './status-file.js';

const EXPORT_TIMEOUT_MS = 60_000;

type Environment = Readonly<Record<string, string | undefined>>;
/** Told what is being done, for people. */
export type Progress = (line: string) => void;

export const processesOf = (lab: Lab, name: SiteName): SiteProcesses => new SiteProcesses(lab.layout.sites[name], lab.identity.sites[name]);

/** Both sites, complete: what runs is left alone, what is missing is made. Resolves when everything answers. */
export async function labUp(environment: Environment, progress: Progress): Promise<Lab> {
  const lab = await findOrMakeLab(environment);
  await withLabLock(lab.layout.folder, 'up', async () => {
    await both((name) => startSite(lab, name, progress));
    await connectSites(lab, progress);
    progress('waiting for the disks');
    await waitForDisks(lab);
    await writeStatusFile(lab, await labStatus(lab));
  });
  return lab;
}

async function startSite(lab: Lab, name: SiteName, progress: Progress): Promise<void> {
  const processes = processesOf(lab, name);
  progress(`site ${name}: nats, postgres, hypervisor`);
  await processes.startServers();
  progress(`site ${name}: zvm`);
  await processes.startZvm();
  await processes.start(undefined);
}

/** What an administrator would do next, over REST: install the VRAs, pair the sites. */
async function connectSites(lab: Lab, progress: Progress): Promise<void> {
  const { a, b } = lab.layout.sites;
  const apis = { a: await siteApi(a), b: await siteApi(b) };
  try {
    await both(async (name) => {
      const installed = await installVras(lab.layout.sites[name], apis[name]);
      if (installed.length > 0) progress(`site ${name}: VRAs installed on ${installed.join(', ')}`);
    });
    if (await pairSites(apis.a, b, apis.b)) progress('sites paired');
  } finally {
    await Promise.all([apis.a.close(), apis.b.close()]);
  }
}

/** Runs it for both sites at once; the first failure is thrown when both have ended. */
async function both(work: (name: SiteName) => Promise<void>): Promise<void> {
  await settleAll(SITE_NAMES.map(work));
}

/** Until every disk of a powered-on VM can be read by its guest. */
async function waitForDisks(lab: Lab): Promise<void> {
  const { sites } = await labStatus(lab);
  const running = sites.flatMap((site) => site.vms).filter((vm) => vm.powerState === 'poweredOn');
  await Promise.all(running.map(waitForVm));
}

export async function waitForVm(vm: VmStatus): Promise<void> {
  for (const disk of vm.disks) {
    const guest = new NbdGuest(disk.nbdUri);
    const deadline = AbortSignal.timeout(EXPORT_TIMEOUT_MS);
    try {
      await guest.connect(deadline);
    } catch (cause) {
      throw new LabError('LAB_TIMEOUT', `disk ${disk.nbdUri} of ${vm.name} does not answer`, { cause });
    } finally {
      guest.close();
    }
  }
}

/** `a` or `b/vra1`. */
export interface Target {
  readonly site: SiteName;
  readonly process?: string;
}

export function parseTarget(text: string): Target {
  const [site = '', process, ...rest] = text.split('/');
  if (!isSiteName(site) || process === '' || rest.length > 0) {
    throw new LabError('LAB_UNKNOWN', `'${text}': a site (${SITE_NAMES.join(', ')}) or SITE/PROCESS is expected, e.g. a or b/vra1`);
  }
  return process === undefined ? { site } : { site, process };
}

/** @returns the names of the processes that were running and are dead now. */
export async function labKill(environment: Environment, target: Target): Promise<string[]> {
  const lab = await existingLab(environment);
  return await withLabLock(lab.layout.folder, 'kill', () => processesOf(lab, target.site).kill(target.process));
}

/** @returns the names of the processes that were dead and answer now. */
export async function labStart(environment: Environment, target: Target): Promise<string[]> {
  const lab = await existingLab(environment);
  return await withLabLock(lab.layout.folder, 'start', () => processesOf(lab, target.site).start(target.process));
}

export async function existingLab(environment: Environment): Promise<Lab> {
  const lab = await findLab(environment);
  if (!lab) throw new LabError('LAB_NOT_UP', 'there is no lab here: npm run lab -- up');
  return lab;
}

/** A backup appliance for a site that is up. */
export async function labAddVba(environment: Environment, { site }: Target): Promise<void> {
  const lab = await existingLab(environment);
  await withLabLock(lab.layout.folder, 'vba', async () => {
    const api = await siteApi(lab.layout.sites[site]);
    try {
      await processesOf(lab, site).addVba(api);
    } finally {
      await api.close();
    }
  });
}

/** Ends every process and removes everything. @returns whether there was a lab. */
export async function labDown(environment: Environment): Promise<boolean> {
  const lab = await findLab(environment);
  if (!lab) return false;
  await withLabLock(lab.layout.folder, 'down', async () => {
    // VRAs may be started by a manager that still runs: it goes first, with everything else, and whatever appeared meanwhile second.
    for (let round = 0; round < 2; round++) await both((name) => processesOf(lab, name).runner.endAll());
    const folders = [...SITE_NAMES.map((name) => lab.layout.sites[name].postgresFolder), lab.layout.folder];
    for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  return true;
}

export const currentStatus = async (environment: Environment): Promise<LabStatus> => await labStatus(await findLab(environment));
