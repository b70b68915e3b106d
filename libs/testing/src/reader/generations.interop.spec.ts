import { mkdtemp, readFile, rename, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB, SECTOR_BYTES } from '@tidemark/base';
import { JournalFile } from '@tidemark/journal-file';
import { turnBit } from '@tidemark/journal-file/testing';
import { MemoryVolume } from '@tidemark/volume';
import { describeWithTools } from '../interop/tools.js';
import { qemuIo, until, VraRig } from '../vra/rig.js';
import { copyJournal, lastSegment, reader, SEGMENT_HEADER_BYTES } from './python-reader.js';

const VM = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [4 * MiB] };

let rig: VraRig | undefined;
let folder = '';
let copies = 0;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-generations-'));
});
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
  await rm(folder, { recursive: true });
});

interface Found {
  readonly isBroken: boolean;
  readonly checkpointIds: readonly number[];
}

const copyOf = async (journal: string): Promise<string> => await copyJournal(journal, join(folder, `copy-${String((copies += 1))}`));

async function foundByReader(journal: string): Promise<Found> {
  const { code, stdout } = await reader('list', journal, '--json');
  return { isBroken: code === 1, checkpointIds: (JSON.parse(stdout) as { readonly checkpointId: number }[]).map(({ checkpointId }) => checkpointId) };
}

/** It may begin a generation: what is there afterwards is another journal. */
async function openedByProduct(journal: string, vpgId: string): Promise<Found> {
  const file = await JournalFile.open({
    folder: journal, identity: { vpgId, vmId: VM.vmId }, volumes: VM.diskBytes.map((sizeBytes) => ({ sizeBytes, mirror: new MemoryVolume({ sizeBytes }) })), epoch: 1,
    clocks: { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() }, onDurable: () => undefined, onCheckpointsChanged: () => undefined, onState: () => undefined,
  });
  const found = { isBroken: file.stats().state.phase === 'broken', checkpointIds: file.checkpoints().map(({ checkpointId }) => checkpointId) };
  await file.close();
  return found;
}

/** Both say the same of it. @returns what they say, and the journal as the product leaves it */
async function agreed(journal: string, vpgId: string): Promise<{ readonly found: Found; readonly after: string }> {
  const after = await copyOf(journal);
  const found = await foundByReader(journal);
  expect(await openedByProduct(after, vpgId)).toEqual(found);
  return { found, after };
}

describeWithTools('generations of a journal, as Python reads them', ['python3', 'qemu-io', 'nbdcopy'], () => {
  it('are what the product takes them for: broken, begun by their header alone, with a wrong bit in their first record or their header', async () => {
    const vras = await VraRig.start({ protectingCount: 1, recoveringCount: 1, vms: [VM], intervalMs: 150, historyMs: 2000 });
    rig = vras;
    const { vpgId } = vras;
    await vras.protect();
    const [first] = await until('the first checkpoint', () => (vras.listed().length > 0 ? vras.listed() : undefined));
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x51 0 512k');
    await until('the first one is retired', () => first !== undefined && !vras.listed().includes(first), 30_000);
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x52 1M 512k');
    const writtenAtMs = Date.now();
    await until('a checkpoint behind it', () => vras.listedSince(writtenAtMs));
    for (const vra of [...vras.protecting.splice(0), ...vras.recovering.splice(0)]) await vra.close();
    const journal = join(vras.folder, 'recovery', `${VM.vmId}-journal`);
    const whole = (await agreed(await copyOf(journal), vpgId)).found;
    expect(whole).toEqual({ isBroken: false, checkpointIds: expect.any(Array) });
    expect(whole.checkpointIds.length).toBeGreaterThan(1);

    const broken = await copyOf(journal);
    // In a write with a checkpoint behind it: near the end a wrong bit would be a torn tail.
    const at = (await readFile(await lastSegment(broken))).indexOf(Buffer.alloc(SECTOR_BYTES, 0x52));
    expect(at).toBeGreaterThan(SEGMENT_HEADER_BYTES);
    await turnBit(await lastSegment(broken), at);
    const { found, after } = await agreed(broken, vpgId);
    expect(found.isBroken).toBe(true);
    expect(await lastSegment(after)).not.toBe(join(after, '0000000001.segment'));

    // What was cut off is the same, and so is what can be shown.
    const headerAlone = await copyOf(after);
    await truncate(await lastSegment(headerAlone), SEGMENT_HEADER_BYTES);
    expect((await agreed(headerAlone, vpgId)).found).toEqual(found);
    const wrongFirst = await copyOf(after);
    await turnBit(await lastSegment(wrongFirst), SEGMENT_HEADER_BYTES + 200);
    expect((await agreed(wrongFirst, vpgId)).found).toEqual(found);
    const wrongHeader = await copyOf(after);
    await turnBit(await lastSegment(wrongHeader), 100);
    const { found: atGuess } = await agreed(wrongHeader, vpgId);
    expect(atGuess.isBroken).toBe(true);
    expect(atGuess.checkpointIds.length).toBeGreaterThan(0);
    // The files that it had cut off are gone: what stands before them is its forerunner.
    const behindGap = await copyOf(wrongHeader);
    await rename(await lastSegment(behindGap), join(behindGap, '0000000007.segment'));
    expect((await agreed(behindGap, vpgId)).found).toEqual(atGuess);
  });
});
