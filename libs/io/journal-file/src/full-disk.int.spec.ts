import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MemoryVolume } from '@tidemark/volume';
import { FileBench, readAll, write } from './testing/fixture.js';

let folder = '';
let isMounted = false;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder], { stdio: 'ignore' });
    isMounted = true;
  } catch {
    // Mounting needs root; without it the same path is tested through a failing file layer.
  }
});

afterAll(() => {
  if (isMounted) execFileSync('umount', [folder]);
  rmSync(folder, { recursive: true, force: true });
});

describe('a journal on a file system that really fills up', () => {
  it('is full, loses nothing that was durable, and resumes when there is space', async () => {
    if (!isMounted) return;
    const ballast = join(folder, 'ballast');
    writeFileSync(ballast, new Uint8Array(1024 * 1024));
    const bench = await FileBench.make({ folder, mirrors: [new MemoryVolume({ sizeBytes: 1024 * 1024 })], segmentBytes: 256 * 1024 });
    await bench.base();
    bench.send([write(0, new Uint8Array(4096).fill(1))]);
    const checkpointId = await bench.checkpoint();
    let sent = 0;
    while (bench.states.length === 0) {
      bench.send([write(4096 * (sent % 200), new Uint8Array(65_536).fill(2))]);
      sent += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect([bench.states, sent > 5]).toEqual([['full'], true]);
    const durable = bench.durableSeq;
    const view = await bench.journal.openView({ checkpointId });
    expect((await readAll(view.volumes[0] ?? new MemoryVolume({ sizeBytes: 0 })))[0]).toBe(1);
    await view.close();
    rmSync(ballast);
    bench.journal.resume();
    await bench.begin();
    expect(bench.lastSeq).toBe(durable);
    await bench.sendDurable([write(0, new Uint8Array(65_536).fill(3))]);
    await bench.reopen();
    expect([bench.journal.stats().state.phase, bench.journal.stats().durableSeq]).toEqual(['open', durable + 1]);
    await bench.journal.close();
  });
});
