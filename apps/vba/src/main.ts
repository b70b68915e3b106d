import { pino } from 'pino';
import { readConfig } from './config.js';
import { startVba } from './start-vba.js';

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = pino({ base: { vbaId: config.appliance.instanceId } });
  await startVba(config, log);
  log.info({ address: config.appliance.address }, 'VBA is up');
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
  // A half-started one must not linger: a supervisor begins again.
  setTimeout(() => process.exit(1), 100).unref();
});
