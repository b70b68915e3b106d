import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ApplianceRunner, type ApplianceSpec, HypervisorError, type HypervisorHost, type HypervisorSeed } from '@tidemark/hypervisor';
import { guestAgentFolder, PORTS } from '../layout.js';
import type { ProcessRunner } from '../process/process-runner.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { appEntry } from '../servers/node-programs.js';
import type { HostConfig } from './config.js';

/** In the VRA's state folder; it removes it when it has redeemed it. */
const TOKEN_FILE = 'enrolment-token';
/** Threads for file I/O of one VRA: libuv's default of 4 would let journal fdatasyncs starve guest reads. */
const IO_THREADS = '16';

/** The VRAs of a lab site as processes of its registry, where `lab kill` and `lab start` find them. */
export class ApplianceProcesses implements ApplianceRunner {
  constructor(
    private readonly runner: ProcessRunner,
    private readonly options: { readonly hosts: readonly HostConfig[]; readonly logFolder: string; readonly seed: Pick<HypervisorSeed, 'datastores'> },
  ) {}

  async start(spec: ApplianceSpec, host: HypervisorHost): Promise<void> {
    const config = this.options.hosts.find((candidate) => candidate.name === host.name);
    if (!config) throw new HypervisorError('HYPERVISOR_STATE', `host ${host.name} is not one of this lab: no appliance can run on it`);
    const stateFolder = join(config.folder, 'vra');
    await mkdir(stateFolder, { recursive: true, mode: 0o700 });
    await writeToken(join(stateFolder, TOKEN_FILE), spec.enrolmentToken);
    await this.runner.start(this.#processSpec(spec, config, stateFolder));
  }

  async stop(vraId: string): Promise<void> {
    for (const record of await this.runner.registry.list()) {
      if (record.env['TIDEMARK_VRA_ID'] !== vraId) continue;
      await this.runner.end(record);
      await this.runner.registry.remove(record.name);
    }
  }

  #processSpec(spec: ApplianceSpec, host: HostConfig, stateFolder: string): ProcessSpec {
    return {
      name: host.vraName,
      command: process.execPath,
      args: [appEntry('vra/dist/main.js')],
      env: {
        TIDEMARK_SITE_ID: spec.siteId,
        TIDEMARK_VRA_ID: spec.vraId,
        TIDEMARK_HOST_ID: spec.hostId,
        TIDEMARK_ADDRESS: host.address,
        TIDEMARK_NATS_URL: spec.natsUrl,
        TIDEMARK_STATE_DIR: stateFolder,
        TIDEMARK_ENROLMENT_TOKEN_FILE: join(stateFolder, TOKEN_FILE),
        TIDEMARK_DATASTORES: this.options.seed.datastores.map(({ path }) => path).join(':'),
        TIDEMARK_NBD_SOCKET: host.nbdSocketPath,
        TIDEMARK_GUEST_AGENT_DIR: guestAgentFolder(host.nbdSocketPath),
        TIDEMARK_CONTROL_PORT: String(PORTS.vraControl),
        TIDEMARK_DATA_PORT: String(PORTS.vraData),
        TIDEMARK_BACKUP_PORT: String(PORTS.vraBackup),
        TIDEMARK_HEALTH_PORT: String(PORTS.vraHealth),
        TIDEMARK_MEMORY_MIB: String(spec.memoryMiB),
        UV_THREADPOOL_SIZE: IO_THREADS,
      },
      cwd: host.folder,
      logPath: join(this.options.logFolder, `${host.vraName}.log`),
      listens: [PORTS.vraHealth, PORTS.vraControl, PORTS.vraData, PORTS.vraBackup].map((port) => `${host.address}:${port}`),
      endSignal: 'SIGTERM',
    };
  }
}

/** Whole or not at all, readable by the VRA alone: a VRA may be looking for it at this moment. */
async function writeToken(path: string, token: string): Promise<void> {
  await writeFile(`${path}.new`, token, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
