import type { Plant } from '../plants.js';

const JOURNAL = 'libs/core/journal/src';

/** Each shows with several faults of one journal together. */
export const ONE_JOURNAL_PLANTS: readonly Plant[] = [
  {
    name: 'generation-by-its-header-alone', world: 'oneJournal', breaks: 'a generation counts from its first two records on: killed before they are durable, it hides no loss', seedBudget: 300,
    expects: ['lost', 'gone', 'image', 'ownership'],
    mutation: { file: `${JOURNAL}/scanner.ts`, find: 'return this.#missing.length > 0;', replace: 'return false;' },
  },
  {
    name: 'cut-off-records-not-asked', world: 'oneJournal', breaks: 'what a generation has cut off says how far the mirrors are, and which epochs were used, where its own records are not there', seedBudget: 2500,
    expects: ['image', 'ownership'],
    mutation: { file: `${JOURNAL}/recovery.ts`, find: '? this.plan.leftOut : []', replace: '? [] : []' },
  },
  {
    name: 'full-disk-forgets-the-reason', world: 'oneJournal', breaks: 'a generation whose first records the disk has no room for takes nothing else', seedBudget: 1000, expects: ['lost', 'gone', 'image', 'stuck', 'ownership'],
    mutation: { file: `${JOURNAL}/commit-log.ts`, find: 'const isOver = this.#isUnproven ||', replace: `const isOver = (this.#isUnproven && reason === 'io') ||` },
  },
  {
    name: 'records-behind-a-break-not-asked', world: 'oneJournal', breaks: 'no checkpoint is listed that the mirrors have passed, and no burned epoch is handed out again, whatever lies behind a break', seedBudget: 60,
    expects: ['image', 'ownership'],
    mutation: { file: `${JOURNAL}/recovery.ts`, find: "if (end?.verdict === 'corrupt') this.#state.salvage(this.#salvage);", replace: '' },
  },
  {
    name: 'page-cache-believed', world: 'oneJournal', breaks: 'failed syncs, kills and power losses alone take nothing that was listed: what is scanned is read past the page cache', seedBudget: 500,
    expects: ['lost', 'gone'],
    mutation: { file: 'libs/io/journal-file/src/segment-files.ts', find: 'await this.use(segment, (handle) => Promise.resolve(handle.dropCache()));', replace: '' },
  },
  {
    name: 'found-names-not-synced', world: 'oneJournal', breaks: 'a name that a killed process left is made durable before anything is acknowledged in its file', seedBudget: 200, expects: ['lost', 'gone'],
    mutation: { file: 'libs/io/journal-file/src/segment-files.ts', find: 'if (found.length > 0) await this.files.syncFolder(this.folder);', replace: '' },
  },
];
