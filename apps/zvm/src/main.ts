import { readConfig, type ZvmConfig } from './config.js';
import { startZvm } from './server.js';

function configOrExit(): ZvmConfig {
  try {
    return readConfig(process.env);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(2);
  }
}

const zvm = await startZvm(configOrExit());
process.stdout.write(`ZVM listens on ${zvm.url}\n`);

let isEnding = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // A second signal ends at once: whoever sends it does not want to wait.
    if (isEnding) process.exit(1);
    isEnding = true;
    zvm.close().then(() => process.exit(0), (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    });
  });
}
