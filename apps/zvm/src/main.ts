import { TidemarkError } from '@tidemark/base';
import { inspect } from 'node:util';
import { readConfig, type ZvmConfig } from './config.js';
import { startZvm, type Zvm } from './server.js';
import { runTrustCommand, UsageError } from './trust/init.js';

function configOrExit(): ZvmConfig {
  try {
    return readConfig(process.env);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(2);
  }
}

const [command, ...args] = process.argv.slice(2);
const config = configOrExit();
try {
  if (command === undefined) await serve();
  else process.stdout.write(`${await runTrustCommand(command, args, config)}\n`);
} catch (error) {
  // What an operator can mend is said in one line; anything else is a bug, with its stack.
  const isExpected = error instanceof TidemarkError || error instanceof UsageError;
  process.stderr.write(`${isExpected ? error.message : inspect(error)}\n`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

async function serve(): Promise<void> {
  const zvm = await startZvm(config);
  process.stdout.write(`ZVM listens on ${zvm.url}\n`);
  endOnSignals(zvm);
}

function endOnSignals(zvm: Zvm): void {
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
}
