import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { FrameCodec } from '@tidemark/frame';
import { turnBit } from '@tidemark/journal-file/testing';
import { compressBody } from '@tidemark/link';
import { describeWithTools, run, runOk, type ToolResult } from '../interop/tools.js';
import { qemuIo, until, VraRig, type RigOptions } from '../vra/rig.js';
import { copyJournal, lastSegment, READER, reader, SEGMENT_HEADER_BYTES } from './python-reader.js';

const BUSY_WRITES = 1500;

const DISK_BYTES = [16 * MiB, 4 * MiB] as const;
const VM = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: DISK_BYTES };
const ONE_VM: RigOptions = { protectingCount: 1, recoveringCount: 1, vms: [VM], intervalMs: 120 };

let rig: VraRig | undefined;
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-reader-'));
});
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
  await rm(folder, { recursive: true });
});

async function protect(options: RigOptions): Promise<VraRig> {
  const vras = await VraRig.start(options);
  rig = vras;
  await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 2M', 'write -P 0x12 8M 64k');
  await vras.protect();
  await until('the first checkpoint', () => vras.listed().length > 0);
  return vras;
}

/** One checkpoint made after this call began. */
async function checkpointFromNow(vras: VraRig): Promise<number> {
  const before = Math.max(0, ...vras.listed());
  return await until('two new checkpoints', () => vras.listed().filter((id) => id > before)[1]);
}

const journalOf = (vras: VraRig): string => join(vras.folder, 'recovery', `${VM.vmId}-journal`);

/** What the VRA serves of each checkpoint's disks over NBD; the views stay open, so that the checkpoints stay. */
async function servedImages(vras: VraRig, checkpointIds: readonly number[]): Promise<Map<number, Buffer[]>> {
  const served = new Map<number, Buffer[]>();
  for (const id of checkpointIds) {
    await vras.openViews(id);
    const images: Buffer[] = [];
    for (const disk of DISK_BYTES.keys()) images.push(await vras.image(vras.uri('r', 0, `vm-1-${String(disk)}-at-${String(id)}`)));
    served.set(id, images);
  }
  return served;
}

interface ListedByReader {
  readonly checkpointId: number;
  readonly epoch: number;
  readonly term: number;
  readonly vmIds: readonly string[];
  readonly atMs: number;
  readonly tag: string | null;
  readonly kind: string;
}

const facts = ({ checkpointId, epoch, term, vmIds, atMs, tag, kind }: ListedByReader): ListedByReader => ({ checkpointId, epoch, term, vmIds, atMs, tag, kind });

/** Ends capture and then the recovering VRA in good order, and says what it held at its end. */
async function closeVras(vras: VraRig): Promise<ListedByReader[]> {
  for (const vra of vras.protecting.splice(0)) await vra.close();
  const [recovering] = vras.recovering.splice(0);
  if (recovering === undefined) throw new Error('rig');
  const { held } = recovering.listCheckpoints({ vpgId: vras.vpgId, vmId: VM.vmId });
  await recovering.close();
  return held.map(facts);
}

const check = async (journal: string, ...args: string[]): Promise<ToolResult> => await reader('check', journal, ...args);

function expectVerdict({ code, stdout, stderr }: ToolResult, expected: number, text: RegExp): void {
  expect({ code, stderr }).toEqual({ code: expected, stderr: '' });
  expect(stdout).toMatch(text);
}

async function listed(journal: string): Promise<ListedByReader[]> {
  return (JSON.parse(await runOk('python3', [READER, 'list', journal, '--json'])) as ListedByReader[]).map(facts);
}

async function expectImages(vras: VraRig, served: ReadonlyMap<number, readonly Buffer[]>): Promise<void> {
  for (const [checkpointId, images] of served) {
    for (const [disk, image] of images.entries()) {
      const out = join(folder, 'image.raw');
      const place = ['--volume', String(disk), '--checkpoint', String(checkpointId), '--mirror', vras.mirrorPath(VM.vmId, disk), '--out', out];
      await runOk('python3', [READER, 'image', journalOf(vras), ...place]);
      expect({ checkpointId, disk, isEqual: (await readFile(out)).equals(image) }).toEqual({ checkpointId, disk, isEqual: true });
    }
  }
}

async function copied(journal: string): Promise<string> {
  const copy = join(folder, 'copy');
  await rm(copy, { recursive: true, force: true });
  return await copyJournal(journal, copy);
}

async function expectSame(options: RigOptions): Promise<VraRig> {
  const vras = await protect(options);
  const guest = vras.uri('p', 0, 'vm-1-0');
  const ids: number[] = [];
  await qemuIo(guest, 'write -P 0x21 512k 4k', 'write -P 0x22 1000 3k', 'write -z 768k 64k', 'discard 8M 64k');
  ids.push(await checkpointFromNow(vras));
  await qemuIo(guest, 'write -P 0x31 0 1M', 'write -P 0x32 15M 1M');
  await qemuIo(vras.uri('p', 0, 'vm-1-1'), 'write -P 0x33 4k 12k', 'write -z 8k 4k');
  ids.push(await checkpointFromNow(vras));
  await qemuIo(guest, 'discard 0 4M', 'write -P 0x41 64k 4k', 'write -P 0x42 15M 512k');
  // A checkpoint between writes that follow at once: one record too many or too few is seen.
  const busy = qemuIo(guest, ...Array.from({ length: BUSY_WRITES }, (_, index) => `write -P ${String(1 + (index % 250))} ${String(index % 1024)}k 1k`));
  ids.push(await checkpointFromNow(vras));
  await busy;
  const served = await servedImages(vras, ids);
  const [first] = served.values();
  expect([...served.values()].slice(1).every(([disk]) => disk !== undefined && first?.[0]?.equals(disk) === false)).toBe(true);
  const held = await closeVras(vras);
  expect(held.map(({ checkpointId }) => checkpointId)).toEqual(expect.arrayContaining(ids));
  expect(await listed(journalOf(vras))).toEqual(held);
  expectVerdict(await check(journalOf(vras)), 0, /\ncomplete\n$/);
  expectVerdict(await reader('verify', journalOf(vras)), 0, /^1 segments: sound\n$/);
  await expectImages(vras, served);
  return vras;
}

describeWithTools('the journal as Python reads it', ['python3', 'qemu-io', 'nbdcopy'], () => {
  it('holds the same checkpoints and the same disks as the VRA, byte for byte', async () => {
    await expectSame(ONE_VM);
  });

  it('holds them when its oldest checkpoints were retired and their writes are in the mirrors', async () => {
    const vras = await protect({ ...ONE_VM, historyMs: 3000, intervalMs: 250 });
    const [first] = vras.listed();
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x51 3M 1M', 'discard 1M 256k');
    await until('the first one is retired', () => first !== undefined && !vras.listed().includes(first), 30_000);
    await qemuIo(guest, 'write -P 0x52 3M 64k', 'write -z 512k 1M');
    const newest = await checkpointFromNow(vras);
    const [, , third = newest] = vras.listed();
    const served = await servedImages(vras, [third, newest]);
    // A view refuses what retires checkpoints behind its own: once its own is old enough to go, the list stays as it is.
    const ageMs = (): number => vras.recovering[0]?.listCheckpoints({ vpgId: vras.vpgId, vmId: VM.vmId }).held.find(({ checkpointId }) => checkpointId === third)?.ageMs ?? 0;
    await until('the view holds up retirement', () => ageMs() > 4000);
    const held = await closeVras(vras);
    const { stdout, code } = await check(journalOf(vras));
    const numbers = [/, applied (\d+), retired/, /, retire (\d+)/].map((wanted) => Number(wanted.exec(stdout)?.[1]));
    expect({ code, isApplied: numbers.every((number) => number > 0) }).toEqual({ code: 0, isApplied: true });
    expect(await listed(journalOf(vras))).toEqual(held);
    await expectImages(vras, served);
  });

  it('is corrupt after one flipped byte that later records vouch for, and keeps the checkpoints before it', async () => {
    const vras = await protect(ONE_VM);
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x61 0 1M');
    await checkpointFromNow(vras);
    const held = await closeVras(vras);
    const copy = await copied(journalOf(vras));
    const path = await lastSegment(copy);
    const { size } = await stat(path);
    // The 1 MiB write is most of the file: its middle is inside that body, and checkpoints lie on both sides.
    await turnBit(path, SEGMENT_HEADER_BYTES + Math.floor((size - SEGMENT_HEADER_BYTES) / 2));
    expectVerdict(await check(copy), 1, /\ncorrupt: .*body checksum\n$/);
    const before = JSON.parse((await reader('list', copy, '--json')).stdout) as ListedByReader[];
    expect(before.length).toBeLessThan(held.length);
    expect(before.map(facts)).toEqual(held.slice(0, before.length));
    await turnBit(await lastSegment(await copied(journalOf(vras))), 100);
    expectVerdict(await check(copy), 1, /\ncorrupt: segment 1: its header does not read\n$/);
  });

  it('has a torn tail when its last bytes are missing, unless they were acknowledged', async () => {
    const vras = await protect(ONE_VM);
    await closeVras(vras);
    const whole = await check(journalOf(vras));
    const copy = await copied(journalOf(vras));
    const path = await lastSegment(copy);
    await truncate(path, (await stat(path)).size - 64);
    const torn = await check(copy);
    expectVerdict(torn, 0, /\ntorn tail: segment 1 counts up to byte \d+, \d+ bytes behind it do not/);
    const durable = /durable position: (\d+)/.exec(whole.stdout)?.[1] ?? '';
    expect(Number(durable)).toBeGreaterThan(Number(/durable position: (\d+)/.exec(torn.stdout)?.[1]));
    expectVerdict(await check(copy, '--acked', durable), 1, /\ncorrupt: /);
  });
});

describeWithTools('a compressed journal as Python reads it', ['python3', 'zstd', 'qemu-io', 'nbdcopy'], () => {
  it('holds the same checkpoints and the same disks as the VRA, byte for byte', async () => {
    const vras = await expectSame({ ...ONE_VM, isCompressed: true });
    expect((await check(journalOf(vras))).stdout).toMatch(/\nbodies of frames: .*zstd \d+\n/);
  });
});

describeWithTools('the reader and lz4', ['python3'], () => {
  it('decodes the bodies that a VRA writes, and refuses damaged ones', async () => {
    const program = `import sys; sys.path.insert(0, ${JSON.stringify(join(READER, '..'))})
from journal_bytes import lz4_body, Corrupt
body = open(sys.argv[1], 'rb').read()
try: sys.stdout.buffer.write(lz4_body(body, int(sys.argv[2])))
except Corrupt as error: sys.exit(str(error))`;
    const file = join(folder, 'body');
    const decoded = async (body: Uint8Array, rawBytes: number): Promise<ToolResult> => {
      await writeFile(file, body);
      return await run('python3', ['-c', program, file, String(rawBytes)]);
    };
    const text = (await readFile(READER)).toString();
    for (const raw of [text, 'x', 'ab'.repeat(40_000), text.slice(0, 300) + 'y'.repeat(700)]) {
      const { code, stdout } = await decoded(compressBody(FrameCodec.lz4, Buffer.from(raw)), raw.length);
      expect([code, stdout]).toEqual([0, raw]);
    }
    const body = compressBody(FrameCodec.lz4, Buffer.from(text));
    for (const bad of [body.subarray(0, body.length - 9), Buffer.concat([body.subarray(0, 4), Buffer.alloc(40, 0xf0)])]) {
      expect((await decoded(bad, text.length)).code).not.toBe(0);
    }
  });
});
