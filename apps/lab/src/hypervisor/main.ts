import { readFile } from 'node:fs/promises';
import { serveHypervisor, SimulatedHypervisor } from '@tidemark/hypervisor';
import { ProcessRegistry } from '../process/process-registry.js';
import { ProcessRunner } from '../process/process-runner.js';
import { ApplianceProcesses } from './appliance-processes.js';
import { hypervisorConfigSchema } from './config.js';

/** The process `hypervisor` of a lab site: node hypervisor/main.js CONFIG. Its appliances outlive it. */
async function main(configPath: string | undefined): Promise<void> {
  if (configPath === undefined) throw new Error('usage: hypervisor/main.js CONFIG');
  const config = hypervisorConfigSchema.parse(JSON.parse(await readFile(configPath, 'utf8')));
  const runner = new ProcessRunner(new ProcessRegistry(config.runFolder));
  const hypervisor = await SimulatedHypervisor.open({
    statePath: config.statePath,
    serverGuid: config.serverGuid,
    appliances: new ApplianceProcesses(runner, config),
  });
  await hypervisor.seed(config.seed);
  const server = await serveHypervisor(hypervisor, config);
  console.log(`${new Date().toISOString()} simulated hypervisor manager at ${server.url}, revision ${hypervisor.revision}`);
  process.once('SIGTERM', () => {
    void server.close(); // then nothing keeps the process
  });
}

main(process.argv[2]).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
