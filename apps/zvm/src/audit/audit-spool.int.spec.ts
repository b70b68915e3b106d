import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { AuditEntry } from './audit-entry.js';
import { SYSTEM } from './audit-log.js';
import { AuditSpool } from './audit-spool.js';

const entry = (id: string): AuditEntry => ({ ...SYSTEM, id, atMs: 1_763_800_000_000, action: 'task.started FailOver', entities: [], result: 'Done', message: `${id}: ä` });
let folder: string;
const path = (): string => join(folder, 'state', 'audit-spool.jsonl');
const unread: number[] = [];
const reopened = (): AuditSpool => new AuditSpool(path(), (count) => unread.push(count));
beforeEach(async () => {
  unread.length = 0;
  folder = await mkdtemp(join(tmpdir(), 'tidemark-spool-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

describe('audit entries that wait for the database', () => {
  it('are lines of JSON, each behind an empty one, and read again by the next process', async () => {
    await reopened().appendDurable([entry('1'), entry('2')]);
    await reopened().appendDurable([entry('3')]);
    expect(await readFile(path(), 'utf8')).toBe(`\n${JSON.stringify(entry('1'))}\n${JSON.stringify(entry('2'))}\n\n${JSON.stringify(entry('3'))}\n`);
    expect([await reopened().entries(), unread]).toEqual([['1', '2', '3'].map(entry), []]);
  });

  it('are all there behind a line that a crash has torn, which is told', async () => {
    await reopened().appendDurable([entry('1')]);
    await appendFile(path(), `\n${JSON.stringify(entry('torn')).slice(0, 40)}`);
    await reopened().appendDurable([entry('2')]);
    expect(await reopened().entries()).toEqual(['1', '2'].map(entry));
    expect(unread).toEqual([1, 1]);
  });

  it('are not lost in silence when the disk has changed one of them', async () => {
    await reopened().appendDurable([entry('1'), entry('2')]);
    await writeFile(path(), (await readFile(path(), 'utf8')).replace('"id":"1"', '"id":1"'));
    expect([await reopened().entries(), unread]).toEqual([[entry('2')], [1]]);
  });
});
