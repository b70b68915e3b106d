/**
 * The lint target of the workspace project, run by `nx run workspace:lint`. One ESLint process for all projects: loading
 * the type information once is what takes the time. Without a project graph the boundary rule only warns and skips, so
 * this first proves that the rule is awake, and takes a skip for a failure.
 * Options: paths to lint (default: everything), --fix, and --json for the results as ESLint's JSON.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ESLint } from 'eslint';

const root = dirname(import.meta.dirname);
const SKIPPED = /rule will be skipped|No cached ProjectGraph|unable to find project graph/i;
const BOUNDARY_RULE = '@nx/enforce-module-boundaries';
const CANARY_FILE = join(root, 'libs/core/base/src/index.ts');

const asked = [...process.argv.slice(2), ...(process.env.TIDEMARK_LINT ?? '').split(' ')].filter(Boolean);
const paths = asked.filter((word) => !word.startsWith('--'));
const everything = ['apps', 'libs', 'bench', 'tools', '*.mjs', '*.js'].filter((path) => path.includes('*') || existsSync(join(root, path)));
const eslint = new ESLint({ cwd: root, fix: asked.includes('--fix'), errorOnUnmatchedPattern: false });

/** Runs `work` and keeps what it wrote to stdout and stderr: the rule reports a missing graph only as text. */
async function withOutput(work) {
  let text = '';
  const streams = [process.stdout, process.stderr];
  const originals = streams.map((stream) => stream.write);
  for (const stream of streams) stream.write = (chunk) => ((text += chunk), true);
  try {
    return { result: await work(), text };
  } finally {
    streams.forEach((stream, index) => (stream.write = originals[index]));
  }
}

/** libs/core importing libs/io is forbidden; if ESLint does not say so, it sees no boundaries at all. */
async function assertBoundaryRuleIsAwake() {
  const [canary] = await eslint.lintText("import '@tidemark/link';\n", { filePath: CANARY_FILE });
  // The type service now believes that the file reads so; every importer of it would lose its types.
  await eslint.lintText(readFileSync(CANARY_FILE, 'utf8'), { filePath: CANARY_FILE });
  if (canary.messages.some((message) => message.ruleId === BOUNDARY_RULE)) return;
  throw new Error(`${BOUNDARY_RULE} let libs/core import libs/io: ${JSON.stringify(canary.messages)}`);
}

const { result: results, text } = await withOutput(async () => {
  await assertBoundaryRuleIsAwake();
  return eslint.lintFiles(paths.length > 0 ? paths : everything);
});
if (text) console.error(text);
if (SKIPPED.test(text)) throw new Error('ESLint had no project graph: run it as `npm run lint`');

await ESLint.outputFixes(results);
const isJson = asked.includes('--json');
const formatter = await eslint.loadFormatter(isJson ? 'json' : 'stylish');
console.log(await formatter.format(results));
const problems = results.reduce((sum, { errorCount, warningCount }) => sum + errorCount + warningCount, 0);
if (!isJson) console.log(`${results.length} files linted, ${problems} problems`);
process.exitCode = problems > 0 ? 1 : 0;
