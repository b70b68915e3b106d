/**
 * Everything behind `npm run …`: node tools/bootstrap.mjs TARGET [ARGUMENT…]
 * Sets the machine up as far as the target needs it (npm packages, Debian packages, build) and then runs the target under
 * Node 24. Written for plain Node 20 without node_modules: only built-ins here and below tools/bootstrap/.
 * Nothing but the target itself writes to stdout.
 */
import { SetupError, say } from './bootstrap/say.mjs';
import { withSetupLock } from './bootstrap/setup-lock.mjs';
import { ensureNpmPackages } from './bootstrap/npm-packages.mjs';
import { ensureTools } from './bootstrap/system-packages.mjs';
import { nodePath, runToEnd } from './bootstrap/run.mjs';
import { TARGETS, isBuilt } from './bootstrap/targets.mjs';

async function setUp(target, rest) {
  const { tools, mayInstall } = target.needs(rest);
  await withSetupLock(async () => {
    await ensureNpmPackages();
    ensureTools(tools, { mayInstall });
    if (isBuilt(target)) await runToEnd(nodePath(), ['tools/build.mjs'], { stdoutTo: 'stderr' });
  });
}

async function main([name, ...rest]) {
  const target = TARGETS[name];
  if (!target) throw new SetupError(`unknown target '${name ?? ''}'; there are ${Object.keys(TARGETS).join(', ')}`);
  if (process.env.TIDEMARK_SKIP_SETUP !== '1') await setUp(target, rest);
  return runToEnd(nodePath(), [...target.command, ...rest]);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
