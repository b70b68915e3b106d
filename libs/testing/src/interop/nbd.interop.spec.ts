import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { BlockFile } from '@tidemark/block-file';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';
import { describeWithTools, run, runOk } from './tools.js';

const SIZE = 64 * MiB;

let folder: string;
let table: ExportTable;
let disk: BlockFile;
let servers: NbdServer[];
let problems: unknown[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-interop-'));
  table = new ExportTable();
  problems = [];
  disk = await BlockFile.open({ path: join(folder, 'disk.raw'), sizeBytes: SIZE, isReadOnly: false, create: true });
  table.add({ name: 'disk', volume: disk, description: 'the first disk' });
  const options = { onProblem: (error: unknown) => problems.push(error) };
  servers = [
    await NbdServer.listen({ socketPath: socketPath() }, table, options),
    await NbdServer.listen({ host: '127.0.0.1', port: 0 }, table, options),
  ];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  await disk.close();
  rmSync(folder, { recursive: true });
  expect(problems).toEqual([]);
});

const socketPath = (): string => join(folder, 'nbd.sock');
const unixUri = (name = 'disk'): string => `nbd+unix:///${name}?socket=${socketPath()}`;
const tcpUri = (name = 'disk'): string => `nbd://127.0.0.1:${String(servers[1]?.port)}/${name}`;
const uriOf = { UNIX: unixUri, TCP: tcpUri };

/** Data in the places given (in MiB), zero and unallocated elsewhere. */
function sparseImage(name: string, data: readonly (readonly [at: number, length: number])[]): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, SIZE);
  const bytes = Buffer.alloc(SIZE);
  for (const [at, length] of data) {
    for (let i = at * MiB; i < (at + length) * MiB; i += 1) bytes[i] = ((i * 2_654_435_761) >>> 11) % 255 + 1;
  }
  writeFileSync(path, bytes, { flag: 'r+' });
  return path;
}
const sameFiles = (a: string, b: string): boolean => Buffer.compare(readFileSync(a), readFileSync(b)) === 0;

describe.each(['UNIX', 'TCP'] as const)('over %s', (transport) => {
  const uri = (): string => uriOf[transport]();

  describeWithTools('qemu-io', ['qemu-io'], () => {
    it('reads back its patterns, aligned or not, and zeroes after write -z and discard', async () => {
      const commands = ['write -P 0x5a 0 1M', 'write -P 0x11 777 10000', 'read -P 0x11 777 10000', 'read -P 0x5a 0 777', 'write -z -u 128k 64k', 'read -P 0 128k 64k',
        'write -f -P 0x22 2M 4k', 'read -P 0x22 2M 4k', 'discard 512k 256k', 'read -P 0 512k 256k', 'write -P 0x33 63M 1M', 'read -P 0x33 63M 1M', 'write -P 0x44 8M 32M', 'read -P 0x44 8M 32M', 'flush'];
      const output = await runOk('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri()]);
      expect(output).not.toContain('failed');
      const bytes = readFileSync(disk.path);
      expect([bytes[777], bytes[776], bytes[128 * 1024], bytes[2 * MiB], bytes[SIZE - 1], bytes[40 * MiB - 1], bytes[40 * MiB]]).toEqual([0x11, 0x5a, 0, 0x22, 0x33, 0x44, 0]);
    });

    it('sees a wrong pattern: the check above can fail', async () => {
      const result = await run('qemu-io', ['-f', 'raw', '-c', 'read -P 0x5a 0 4k', uri()]);
      expect(result.stdout + result.stderr).toContain('Pattern verification failed');
    });
  });

  describeWithTools('nbdcopy', ['nbdcopy'], () => {
    it('copies in and out over several connections; holes stay holes', async () => {
      const source = sparseImage('source.raw', [[1, 3], [20, 8], [63, 1]]);
      await runOk('nbdcopy', ['--flush', '--connections=4', '--requests=16', source, uri()]);
      expect(sameFiles(source, disk.path)).toBe(true);
      const target = join(folder, 'target.raw');
      writeFileSync(target, '');
      truncateSync(target, SIZE);
      await runOk('nbdcopy', ['--connections=4', uri(), target]);
      expect(sameFiles(source, target)).toBe(true);
      expect(statSync(target).blocks * 512).toBeLessThan(14 * MiB);
    });
  });

  describeWithTools('fio', ['fio'], () => {
    it('verifies the CRC-32C of what it wrote', async () => {
      await runOk('fio', ['--name=verify', '--ioengine=nbd', `--uri=${uri()}`, '--rw=randrw', '--bsrange=512-128k', '--bs_unaligned=1', '--iodepth=16', '--size=24M',
        '--verify=crc32c', '--verify_fatal=1', '--randseed=7', '--trim_percentage=5']);
    });
  });
});

describeWithTools('qemu-img', ['qemu-img'], () => {
  it('converts to and from an export, compares and maps it', async () => {
    const source = sparseImage('source.raw', [[0, 2], [10, 5]]);
    await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source, unixUri()]);
    await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, unixUri()]);
    const map = JSON.parse(await runOk('qemu-img', ['map', '--output=json', '-f', 'raw', unixUri()])) as { start: number; length: number; data: boolean; zero: boolean }[];
    expect(map.map(({ start, length, data, zero }) => [start / MiB, length / MiB, data, zero])).toEqual([
      [0, 2, true, false], [2, 8, false, true], [10, 5, true, false], [15, 49, false, true],
    ]);
    const qcow = join(folder, 'copy.qcow2');
    await runOk('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tcpUri(), qcow]);
    await runOk('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', source, qcow]);
  });

  it('finds a difference of one byte', async () => {
    const source = sparseImage('source.raw', [[0, 2]]);
    await runOk('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source, unixUri()]);
    await disk.write(1_000_000, new Uint8Array([0]));
    expect((await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, unixUri()])).code).toBe(1);
  });
});

describeWithTools('nbdinfo', ['nbdinfo'], () => {
  it('is told size, limits and abilities', async () => {
    const { protocol, exports: [info] } = JSON.parse(await runOk('nbdinfo', ['--json', unixUri()])) as { protocol: string; exports: Record<string, unknown>[] };
    expect(protocol).toBe('newstyle-fixed');
    expect(info).toMatchObject({
      'export-name': 'disk', description: 'the first disk', 'export-size': SIZE, contexts: ['base:allocation'], is_read_only: false, can_df: true, can_flush: true, can_fua: true,
      can_multi_conn: true, can_trim: true, can_zero: true, can_fast_zero: false, block_size_minimum: 1, block_size_preferred: 4096, block_size_maximum: 32 * MiB,
    });
  });

  it('lists several exports, and maps one', async () => {
    const second = await BlockFile.open({ path: join(folder, 'second.raw'), sizeBytes: MiB, isReadOnly: false, create: true });
    table.add({ name: 'second disk/ä', volume: second });
    const { exports } = JSON.parse(await runOk('nbdinfo', ['--list', '--json', tcpUri('')])) as { exports: Record<string, unknown>[] };
    expect(exports.map((each) => [each['export-name'], each['export-size']])).toEqual([['disk', SIZE], ['second disk/ä', MiB]]);
    await disk.write(MiB, new Uint8Array(2 * MiB).fill(1));
    const map = JSON.parse(await runOk('nbdinfo', ['--map', '--json', unixUri()])) as Record<string, unknown>[];
    expect(map.map(({ offset, length, type }) => [offset, length, type])).toEqual([[0, MiB, 3], [MiB, 2 * MiB, 0], [3 * MiB, SIZE - 3 * MiB, 3]]);
    await table.remove('second disk/ä');
    await second.close();
  });
});

describeWithTools('a read-only export', ['qemu-io', 'nbdinfo', 'nbdcopy'], () => {
  it('says so, can be read, refuses writes', async () => {
    await disk.write(0, new Uint8Array(4096).fill(0x77));
    const frozen = await BlockFile.open({ path: disk.path, isReadOnly: true, isLocked: false });
    table.add({ name: 'frozen', volume: frozen });
    const { exports: [info] } = JSON.parse(await runOk('nbdinfo', ['--json', unixUri('frozen')])) as { exports: Record<string, unknown>[] };
    expect(info).toMatchObject({ is_read_only: true, can_trim: false, can_zero: false });
    await runOk('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0x77 0 4096', unixUri('frozen')]);
    expect((await run('qemu-io', ['-f', 'raw', '-c', 'write 0 4096', unixUri('frozen')])).code).not.toBe(0);
    expect((await run('nbdcopy', [sparseImage('x.raw', []), unixUri('frozen')])).code).not.toBe(0);
    expect(readFileSync(disk.path)[0]).toBe(0x77);
    await table.remove('frozen');
    await frozen.close();
  });

  it('an unknown export is refused with words', async () => {
    const result = await run('nbdinfo', [unixUri('none')]);
    expect([result.code !== 0, result.stderr]).toEqual([true, expect.stringContaining('none')]);
  });
});
