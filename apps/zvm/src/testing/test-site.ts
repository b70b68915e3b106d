import { serveHypervisor, SimulatedHypervisor, type HypervisorServer } from '@tidemark/hypervisor';
import { freePort } from '@tidemark/nest/testing';
import { ComponentIdentity, newSecret } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { readConfig, type ZvmConfig } from '../config.js';
import { startZvm, type Zvm } from '../server.js';
import type { FakeDataPlane } from './fake-data-plane.js';
import { RestClient } from './rest-client.js';
import { SiteTrust, trustFolder } from '../trust/site-trust.js';
import { startNats, temporaryFolder, type TestServer, ZvmProcess } from './servers.js';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export interface TestSiteOptions {
  readonly name: string;
  readonly postgres: TestServer;
  readonly plane: FakeDataPlane;
  readonly vmNames?: readonly string[];
  /** Besides what every site of a test has. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A whole site: own NATS server and database, a simulated hypervisor manager with two hosts, fake VRAs, and the real ZVM. */
export class TestSite {
  zvm: Zvm | undefined;
  #process: ZvmProcess | undefined;

  private constructor(
    readonly config: ZvmConfig,
    readonly nats: TestServer,
    readonly hypervisor: SimulatedHypervisor,
    private readonly hypervisorServer: HypervisorServer,
    private readonly folder: string,
    private readonly logLevels: ('warn' | 'error')[],
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  static async open({ name, postgres, plane, vmNames = [], environment = {} }: TestSiteOptions): Promise<TestSite> {
    const folder = await temporaryFolder(`zvm-site-${name}`);
    const siteId = randomUUID();
    const hypervisor = await SimulatedHypervisor.open({
      statePath: join(folder, 'inventory.json'),
      serverGuid: randomUUID(),
      appliances: {
        start: async (spec, host) => plane.vra({ siteId: spec.siteId, vraId: spec.vraId, hostId: spec.hostId, address: host.address, natsUrl: spec.natsUrl, folder: join(folder, `vra-${spec.vraId}`) }).start(spec.enrolmentToken),
        stop: async (vraId) => await plane.vras.get(vraId)?.silence(),
      },
    });
    await hypervisor.seed({
      hosts: [1, 2].map((n) => ({ name: `${name}-host${n}`, address: `127.0.9.${n}`, nbdSocketPath: `/tmp/${name}-host${n}.sock` })),
      datastores: [{ name: `${name}-ds`, path: join(folder, 'ds'), capacityBytes: 20 * GIB }, { name: `${name}-full`, path: join(folder, 'full'), capacityBytes: MIB }],
      networks: [{ name: 'production' }, { name: 'isolated' }],
      folders: [{ name: 'vms' }],
      vms: vmNames.map((vmName, index) => ({
        name: vmName, hostName: `${name}-host${(index % 2) + 1}`, datastoreName: `${name}-ds`, cpuCount: 1, memoryMiB: 512, guestOs: 'Linux', diskBytes: [64 * MIB, 16 * MIB],
        networkNames: ['production'], isPoweredOn: true,
      })),
    });
    const [natsPort, natsPeerPort, internalPort] = [await freePort(), await freePort(), await freePort()];
    const [credential, credentialFile] = [newSecret(), join(folder, 'credential')];
    await writeFile(credentialFile, credential, { mode: 0o600 });
    const variables = {
      TIDEMARK_SITE_ID: siteId, TIDEMARK_SITE_NAME: `Site ${name}`, TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_REST_PORT: '0', TIDEMARK_NATS_URL: `tls://127.0.0.1:${natsPort}`,
      TIDEMARK_NATS_PEER_PORT: String(natsPeerPort), TIDEMARK_INTERNAL_PORT: String(internalPort), TIDEMARK_DATABASE_URL: `${postgres.url}/${await database(postgres, `site_${name}`)}`,
      TIDEMARK_HYPERVISOR: 'simulated:https://127.0.0.1:1', TIDEMARK_STATE_DIR: join(folder, 'zvm'), TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: credentialFile, TIDEMARK_CALLS_PER_MINUTE: '1000000',
      TIDEMARK_NATS_PID_FILE: join(folder, 'nats.pid'),
      ...environment,
    };
    // As `zvm init` does: servers need their certificates, and NATS its operator, before there is a ZVM.
    const trust = await SiteTrust.open(readConfig(variables), Date.now, { hypervisor: ['127.0.0.1'] });
    const key = trust.identities().get('hypervisor')?.current();
    if (!key) throw new Error('no certificate for the hypervisor manager');
    const hypervisorServer = await serveHypervisor(hypervisor, { host: '127.0.0.1', port: 0, credential, keyPem: key.keyPem, certificatePem: key.certificatePem });
    // As a manager of its own would: it shows a renewed certificate soon.
    const renew = async (): Promise<void> => hypervisorServer.renew((await ComponentIdentity.open(join(trust.zvm.folder, '..', 'hypervisor')))?.current() ?? key);
    setInterval(() => void renew().catch(() => undefined), 500).unref();
    const settings = { ...variables, TIDEMARK_HYPERVISOR: `simulated:${hypervisorServer.url}` };
    const config = readConfig(settings);
    const nats = await startNats(join(trustFolder(config), 'nats', 'nats.conf'), natsPort);
    return new TestSite(config, nats, hypervisor, hypervisorServer, folder, process.env['ZVM_TEST_LOG'] ? ['warn', 'error'] : [], settings);
  }

  async startZvm(): Promise<void> {
    this.zvm = await startZvm(this.config, { logLevels: this.logLevels });
  }

  /** As SIGTERM does; a kill differs only in what `operation.spec.ts` aborts between steps. */
  async stopZvm(): Promise<void> {
    const zvm = this.zvm;
    this.zvm = undefined;
    await zvm?.close();
  }

  /** The built program, instead of {@link startZvm}, for a test that kills it. */
  async startProcess(): Promise<void> {
    this.#process ??= new ZvmProcess({ ...this.environment, TIDEMARK_REST_PORT: String(await freePort()) });
    await this.#process.start();
  }

  /** SIGKILL. */
  async killProcess(): Promise<void> {
    await this.#process?.end('SIGKILL');
  }

  /** Logged in, as soon as the ZVM can. */
  async client(agent: Agent | false = false): Promise<RestClient> {
    const until = Date.now() + 20_000;
    for (;;) {
      const password = await readFile(join(this.config.stateDir, 'admin-password'), 'utf8').catch(() => '');
      const client = new RestClient(this.zvm?.url ?? this.#process?.url ?? '', password.trim(), agent);
      const answer = await client.logIn();
      if (answer.status === 200) return client;
      if (Date.now() > until) throw new Error(`cannot log in at ${this.config.siteName}: ${answer.status} ${answer.text}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async close(): Promise<void> {
    await this.stopZvm();
    await this.#process?.end('SIGTERM');
    await this.hypervisorServer.close();
    await this.nats.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function database(postgres: TestServer, name: string): Promise<string> {
  const { default: pg } = await import('pg');
  // Its socket is there before it takes clients (57P03), on a busy machine for seconds.
  const client = await eventually('PostgreSQL takes clients', async () => {
    const trying = new pg.Client({ connectionString: `${postgres.url}/postgres` });
    return await trying.connect().then(() => trying, (error: unknown) => {
      if ((error as { readonly code?: string }).code === '57P03') return undefined;
      throw error;
    });
  });
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return name;
}

/** Repeats until `look` answers something, or says what it last saw. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined | false>, timeoutMs = 40_000): Promise<T> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
