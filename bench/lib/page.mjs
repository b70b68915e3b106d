import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chartOf } from './chart.mjs';
import { cellsOf, HEADINGS } from './report.mjs';
import { checkedResult, isMet } from './result.mjs';

/** The order of the page; what is not named here follows by name. */
export const ORDER = ['nbd', 'capture', 'initial-sync', 'delta-sync', 'bitmap-sync', 'open-point', 'failover', 'restart', 'wire', 'wan', 'scale-volumes', 'backup', 'api'];
/** An account says where its table and chart go with a line that holds only this. */
const RESULTS_HERE = '<!-- results -->';

const HEAD = `# Performance

Every figure is a ratio against a peer, both measured in one run, interleaved; how and why: the header of [bench/run.mjs](../bench/run.mjs) and of each benchmark. Absolute
figures hold for one machine and hour only. Repeat with \`npm run bench -- NAME\` (it installs nothing and names the tools it lacks) or \`npm run bench -- all\`; each
writes \`bench/results/NAME.json\`. \`npm run bench -- report\` makes this page from those files: the figures it shows are kept in [performance/](performance), what is said about
them in [bench/accounts/](../bench/accounts). Edit those, not this page.

In the charts a bar to the right of the line is above its goal, one to the left below it (logarithmic); the thin line spans the quartiles of the rounds.
`;

export const inOrder = (names) => [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);

const jsonNames = (folder) => (existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -5)) : []);

/**
 * Makes docs/performance.md with its charts: from the results of this machine where there are some, and those shown before elsewhere.
 * Throws ResultError for a file that does not say what it must, before anything is written.
 * @param {{ root: string, results: string }} places
 * @returns {{ path: string, lines: string[] }} the page, and one line about each result
 */
export function writePage({ root, results }) {
  const shown = join(root, 'docs', 'performance');
  const charts = join(root, 'docs', 'images', 'performance');
  const fresh = new Map(jsonNames(results).map((name) => [name, readResult(join(results, `${name}.json`), name)]));
  const all = new Map(jsonNames(shown).map((name) => [name, readResult(join(shown, `${name}.json`), name)]));
  for (const [name, result] of fresh) all.set(name, result);
  for (const folder of [shown, charts]) mkdirSync(folder, { recursive: true });
  const ordered = inOrder(all.keys()).map((name) => all.get(name));
  for (const result of ordered) {
    writeFileSync(join(shown, `${result.name}.json`), `${JSON.stringify(result, undefined, 2)}\n`);
    writeFileSync(join(charts, `${result.name}.svg`), chartOf(result));
  }
  const sections = ordered.map((result) => sectionOf(result, accountOf(root, result.name)));
  const path = join(root, 'docs', 'performance.md');
  writeFileSync(path, `${[HEAD, summaryOf(ordered), ...sections].join('\n').trimEnd()}\n`);
  return { path, lines: ordered.map((result) => `${result.name}: ${metOf(result)}${fresh.has(result.name) ? '' : ' (shown before, not measured again)'}`) };
}

function readResult(path, name) {
  const result = checkedResult(JSON.parse(readFileSync(path, 'utf8')));
  return { ...result, name };
}

function accountOf(root, name) {
  const path = join(root, 'bench', 'accounts', `${name}.md`);
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : `${name}\n\n${RESULTS_HERE}\n\nNo account of this row has been written yet.`;
}

const metOf = ({ rows }) => `${rows.filter(isMet).length} of ${rows.length} goals met`;

function summaryOf(results) {
  const lines = results.map(({ name, rows }) => {
    const missed = rows.filter((row) => !isMet(row)).map((row) => `${row.case}${row.peerName ? ` ÷ ${row.peerName}` : ''} (${row.ratio.toFixed(2)} of ${row.goal.toFixed(2)})`);
    return [`[${name}](#${name})`, `${rows.length - missed.length} of ${rows.length}`, missed.join('; ') || '–'];
  });
  return markdownTable([['row', 'goals met', 'missed (ratio of goal)'], ...lines]);
}

/** The first line of an account says what is measured, in a few words; the section's name is the benchmark's. */
function sectionOf(result, account) {
  const [title, ...text] = account.split('\n');
  const body = text.join('\n').trim();
  const measured = `${resultTable(result.rows)}\n![${result.name}: ratio to its goal, by case](images/performance/${result.name}.svg)\n\n${machineOf(result)}`;
  const whole = body.includes(RESULTS_HERE) ? body.replace(RESULTS_HERE, () => measured) : `${body}\n\n${measured}`;
  return `## ${result.name}\n\n*${title.replace(/^#+\s*/, '')}*\n\n${whole.trim()}\n`;
}

function resultTable(rows) {
  const lines = rows.map((row) => cellsOf(row));
  const isUsed = (column) => lines.some((line) => line[column] !== '');
  const columns = HEADINGS.map((_, column) => column).filter(isUsed);
  return markdownTable([HEADINGS, ...lines].map((line) => columns.map((column) => line[column])));
}

function machineOf({ machine, versions, measuredAt }) {
  const memory = machine.memoryBytes ? `, ${Math.round(machine.memoryBytes / 1024 ** 3)} GiB` : '';
  const tools = Object.entries(versions).filter(([tool]) => tool !== 'node' && tool !== 'tidemark').map(([tool, version]) => `${tool} ${/\d+(\.\d+)+/.exec(version)?.[0] ?? version}`);
  const when = measuredAt ? `${measuredAt.slice(0, 10)}, ` : '';
  return `Measured ${when}commit ${versions.tidemark ?? 'unknown'}: ${machine.cpuCount} × ${machine.cpu}${memory}, Linux ${machine.kernel}, Node ${versions.node}${tools.length > 0 ? `, ${tools.join(', ')}` : ''}.`;
}

function markdownTable([head, ...lines]) {
  const text = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[text(head), `|${head.map(() => '---').join('|')}|`, ...lines.map(text)].join('\n')}\n`;
}
