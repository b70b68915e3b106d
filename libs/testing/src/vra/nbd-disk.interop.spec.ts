import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, open, readFile, rm } from 'node:fs/promises';
import { afterEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { ProtectionStatus } from '@tidemark/engine-host';
import { qemuIo, until, VraRig } from './rig.js';

let rig: VraRig | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGCONT');
  const closing = rig;
  rig = undefined;
  await closing?.close(); // first: without its server a disk's last flush waits
  await killServer();
});

const socketOf = (file: string): string => `${file}.sock`;

async function serve(file: string): Promise<void> {
  await rm(socketOf(file), { force: true });
  server = spawn('qemu-nbd', ['-f', 'raw', '-t', '-e', '8', '--discard=unmap', '-x', 'disk', '-k', socketOf(file), file], { stdio: 'inherit' });
  while (!(await access(socketOf(file)).then(() => true, () => false))) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Nobody is asked to finish anything. */
async function killServer(): Promise<void> {
  if (!server || server.exitCode !== null || server.signalCode !== null) return;
  const exited = once(server, 'exit');
  server.kill('SIGKILL');
  await exited;
}

/** The next checkpoint of what the guests have written by now shows the protected disks. */
async function expectRecoverable(vras: VraRig): Promise<void> {
  const writtenAtMs = Date.now();
  const checkpointId = await until('a later checkpoint', () => vras.listedSince(writtenAtMs), 30_000);
  const { viewIds } = await vras.openViews(checkpointId);
  for (const { vmId } of vras.options.vms) {
    expect((await vras.image(vras.uri('r', 0, `${vmId}-0-at-${checkpointId}`))).equals(await readFile(vras.diskPath(vmId, 0)))).toBe(true);
  }
  for (const viewId of viewIds) await vras.recovering[0]?.closeView(viewId);
}

it('protects a disk behind qemu-nbd; when that is killed the guest waits, and what its disk forgot meanwhile is forgotten by the recovery site too', async () => {
  const vras = await VraRig.start({
    protectingCount: 1, recoveringCount: 1, intervalMs: 250, pathOf: (file) => `nbd+unix:///disk?socket=${socketOf(file)}`, onDisks: async ([file = '']) => await serve(file),
    vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [16 * MiB] }],
  });
  rig = vras;
  const file = vras.diskPath('vm-1', 0);
  await vras.protect();
  const guest = vras.uri('p', 0, 'vm-1-0');
  await qemuIo(guest, 'write -P 0x11 0 4M', 'write -P 0x22 8M 64k', 'discard 1M 1M', 'flush');
  await expectRecoverable(vras);

  // Completed and never flushed: the recovery site has it, the host that lost its power has not.
  await qemuIo(guest, 'write -P 0x33 8M 64k');
  await expectRecoverable(vras);
  await killServer();
  const disk = await open(file, 'r+');
  await disk.write(Buffer.alloc(65_536, 0x22), 0, 65_536, 8 * MiB);
  await disk.close();
  const waiting = qemuIo(guest, 'write -P 0x44 12M 64k');
  await new Promise((resolve) => setTimeout(resolve, 300));
  await serve(file);
  await waiting;
  await until('the sync of what is suspected', () => vras.protecting[0]?.status().protections[0]?.state === 'replicating');
  await expectRecoverable(vras);
  expect((await readFile(file)).subarray(8 * MiB, 8 * MiB + 4096).equals(Buffer.alloc(4096, 0x22))).toBe(true);
}, 60_000);

it('while an NBD server does not answer, a VRA that starts serves its other guests, and fences them; the VM of that server is attached when it goes on', async () => {
  const isServed = (file: string): boolean => file.includes('vm-2');
  const vras = await VraRig.start({
    protectingCount: 2, recoveringCount: 1, intervalMs: 250, pathOf: (file) => (isServed(file) ? `nbd+unix:///disk?socket=${socketOf(file)}` : file),
    onDisks: async (files) => await serve(files.find(isServed) ?? ''),
    vms: ['vm-1', 'vm-2'].map((vmId) => ({ vmId, host: 0, recoveryHost: 0, diskBytes: [16 * MiB] })),
  });
  rig = vras;
  await vras.protect();
  const stateOf = (vmId: string): ProtectionStatus | undefined => vras.protecting[0]?.status().protections.find((protection) => protection.vmId === vmId);
  const write = async (vmId: string, pattern: string): Promise<unknown> => await qemuIo(vras.uri('p', 0, `${vmId}-0`), `write -P ${pattern} 1M 64k`);
  await write('vm-1', '0x11');
  await write('vm-2', '0x22');
  await expectRecoverable(vras);

  await vras.stop('p', 0);
  server?.kill('SIGSTOP');
  await vras.startAgain('p', 0);
  await write('vm-1', '0x33');
  // It would be another one if the VRA had waited for its end.
  expect(stateOf('vm-2')).toMatchObject({ detail: expect.stringContaining('has not been reached yet') });
  await until('somebody is told', () => vras.protecting[0]?.status().unreachableDisks.length === 1, 30_000);
  expect(vras.protecting[0]?.status().unreachableDisks).toMatchObject([{ vmId: 'vm-2', path: expect.stringContaining('nbd+unix:///disk') }]);
  server?.kill('SIGCONT');
  await until('the disk is back', () => vras.protecting[0]?.status().unreachableDisks.length === 0, 30_000);
  await until('vm-2 is replicated again', () => stateOf('vm-2')?.state === 'replicating');
  await write('vm-2', '0x44');
  await expectRecoverable(vras);

  // The server stops again, and the VM leaves this host: its disk cannot be flushed for as long as the server is waited for.
  server?.kill('SIGSTOP');
  const carriedOut = vras.protecting[0]?.status().revision;
  vras.move('vm-2', 1);
  const hasLeft = vras.apply(0, { isProtected: true });
  const isFenced = vras.apply(0, { isProtected: true, isFenced: true });
  for (let tries = 0; await write('vm-1', '0x55').then(() => true, () => false); tries += 1) expect(tries).toBeLessThan(50);
  expect(vras.protecting[0]?.status().revision).toBe(carriedOut);
  server?.kill('SIGCONT');
  await Promise.all([hasLeft, isFenced]);
  expect(vras.protecting[0]?.status().attachedVmIds).toEqual(['vm-1']);
}, 90_000);
