import { mkdir, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeRequest, newSecret, SiteCa } from '@tidemark/trust';
import type { ApplianceSpec } from '../port.js';
import type { HypervisorAccess } from './https-call.js';
import { type ApplianceRunner, SimulatedHypervisor } from './simulated-hypervisor.js';

const GiB = 1024 ** 3;

/** Only remembers what would run: for tests of the manager, not of the processes. */
export class RememberedAppliances implements ApplianceRunner {
  readonly running = new Map<string, ApplianceSpec>();

  async start(spec: ApplianceSpec): Promise<void> {
    this.running.set(spec.vraId, spec);
  }

  async stop(vraId: string): Promise<void> {
    this.running.delete(vraId);
  }
}

/** A key, a certificate for 127.0.0.1 and a credential for a manager of a test, and what its callers need. */
export async function makeTestingTls(folder: string): Promise<{ readonly server: { keyPem: string; certificatePem: string; credential: string }; readonly access: HypervisorAccess }> {
  const ca = await SiteCa.openOrMake(join(folder, 'ca'), { siteId: 'test', siteName: 'test' }, Date.now);
  const { pem, keyPem } = await makeRequest();
  const { certificatePem } = await ca.issue(pem, { siteId: 'test', role: 'hypervisor', instanceId: 'main' }, ['127.0.0.1']);
  const credential = newSecret();
  return { server: { keyPem, certificatePem, credential }, access: { caPem: () => ca.trustedPem, credential } };
}

export interface TestingSite {
  readonly folder: string;
  readonly hypervisor: SimulatedHypervisor;
  readonly appliances: RememberedAppliances;
  /** The manager as a new process would find it. */
  reopen(): Promise<SimulatedHypervisor>;
  fileBytes(location: string): Promise<number | undefined>;
  makeFile(location: string, sizeBytes: number): Promise<void>;
  remove(): Promise<void>;
}

/** Two hosts, one 20 GiB datastore, one network and one folder, in a folder of their own. */
export async function makeTestingSite(): Promise<TestingSite> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-hypervisor-'));
  const appliances = new RememberedAppliances();
  const reopen = () => SimulatedHypervisor.open({ statePath: join(folder, 'inventory.json'), serverGuid: '0a1b2c3d', appliances });
  const hypervisor = await reopen();
  await hypervisor.addHost({ name: 'host1', address: '127.0.0.1', nbdSocketPath: join(folder, 'nbd.sock') });
  await hypervisor.addHost({ name: 'host2', address: '127.0.0.2', nbdSocketPath: join(folder, 'nbd2.sock') });
  await hypervisor.addDatastore({ name: 'datastore1', path: join(folder, 'datastore1'), capacityBytes: 20 * GiB });
  await hypervisor.addNetwork('production');
  await hypervisor.addFolder('Virtual machines');
  return {
    folder,
    hypervisor,
    appliances,
    reopen,
    fileBytes: async (location) => (await stat(location).catch(() => undefined))?.size,
    makeFile,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function makeFile(location: string, sizeBytes: number): Promise<void> {
  await mkdir(dirname(location), { recursive: true });
  const file = await open(location, 'w');
  await file.truncate(sizeBytes);
  await file.close();
}
