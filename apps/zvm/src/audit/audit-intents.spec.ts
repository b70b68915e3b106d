import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AuditEntry } from './audit-entry.js';
import { AuditIntents } from './audit-intents.js';
import { SYSTEM } from './audit-log.js';

const intent = (id: string, message = 'ä'): AuditEntry => ({ ...SYSTEM, id, atMs: 1_763_800_000_000, action: 'POST /users', entities: [], result: 'Unknown', message });
let folder: string;
let unread: number;
const path = (): string => join(folder, 'state', 'audit-intents.jsonl');
/** The next process. */
const reopened = (): AuditIntents => new AuditIntents(path(), (count) => (unread += count));
const leftIds = async (): Promise<string[]> => (await reopened().left()).map(({ id }) => id);

beforeEach(async () => {
  unread = 0;
  folder = await mkdtemp(join(tmpdir(), 'tidemark-intents-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

describe('acts that have begun', () => {
  it('are found by the next process, and the one after it, until they have ended', async () => {
    const first = reopened();
    await Promise.all(['1', '2', '3'].map((id) => first.begin(intent(id))));
    first.end('2');
    await first.settled();
    const second = reopened();
    expect(await second.left()).toEqual([intent('1'), intent('3')]);
    await second.begin(intent('4'));
    second.end('1');
    await second.settled();
    expect([await leftIds(), unread, (await stat(path())).mode & 0o777]).toEqual([['3', '4'], 0, 0o600]);
  });

  it('are all there behind a line that a crash has torn, which is told and had not begun', async () => {
    const first = reopened();
    await first.begin(intent('1'));
    await appendFile(path(), JSON.stringify({ begun: intent('torn') }).slice(0, 40));
    expect([await leftIds(), unread]).toEqual([['1'], 1]);
    const second = reopened();
    await second.begin(intent('2'));
    expect(await leftIds()).toEqual(['1', '2']);
  });

  it('of many that have ended the file keeps none', async () => {
    const intents = reopened();
    await intents.begin(intent('first'));
    for (let n = 0; n < 60; n += 1) {
      await intents.begin(intent(`${n}`, 'x'.repeat(10_000)));
      intents.end(`${n}`);
    }
    await intents.settled();
    expect((await stat(path())).size).toBeLessThan(300 * 1024);
    expect(await leftIds()).toEqual(['first']);
  });

  it('that could not be noted have not begun; the next one writes the file anew', async () => {
    await writeFile(join(folder, 'state'), 'a file, where the folder should be');
    const intents = reopened();
    await expect(intents.begin(intent('1'))).rejects.toThrow(/ENOTDIR|EEXIST/);
    await rm(join(folder, 'state'));
    await mkdir(join(folder, 'state'));
    await intents.begin(intent('2'));
    expect((await readFile(path(), 'utf8')).trim().split('\n').map((line) => JSON.parse(line) as unknown)).toEqual([{ begun: intent('2') }]);
    expect(await leftIds()).toEqual(['2']);
  });
});
