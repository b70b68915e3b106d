import { execFileSync } from 'node:child_process';
import { randomFillSync, randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SITE_ID, startEngine } from './engine.mjs';
import { cpuMicrosOf } from './processes.mjs';

export const MiB = 1024 * 1024;
export const BLOCK_BYTES = 4096;

/** A volume of which 40 % is zero, half of that holes: MiB by MiB, three with bytes, one hole, one of written zeroes. Durable. */
export function makeVolume(path, sizeBytes) {
  const fd = openSync(path, 'w');
  const bytes = Buffer.allocUnsafe(MiB);
  const zeroes = Buffer.alloc(MiB);
  ftruncateSync(fd, sizeBytes);
  for (let at = 0; at < sizeBytes; at += MiB) {
    const kind = (at / MiB) % 5;
    if (kind < 3) writeSync(fd, randomFillSync(bytes), 0, MiB, at);
    else if (kind === 3) writeSync(fd, zeroes, 0, MiB, at);
  }
  fsyncSync(fd);
  closeSync(fd);
}

/** Numbers from 0 to 2^32, the same for the same seed. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
}

/** Overwrites this share of the volume's 4 KiB blocks, chosen at random, with other bytes. Durable. Answers how many. */
export function changeBlocks(path, { sizeBytes, share, seed }) {
  const fd = openSync(path, 'r+');
  const random = randomOf(seed);
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  const places = new Set();
  while (places.size < Math.floor((sizeBytes / BLOCK_BYTES) * share)) places.add(Math.floor((random() / 2 ** 32) * (sizeBytes / BLOCK_BYTES)));
  for (const place of places) writeSync(fd, randomFillSync(block), 0, BLOCK_BYTES, place * BLOCK_BYTES);
  fsyncSync(fd);
  closeSync(fd);
  return places.size;
}

/** Everything of the file is on the disk, and nothing of it in the page cache (posix_fadvise DONTNEED, by dd). */
export function coolDown(...paths) {
  for (const path of paths) {
    const fd = openSync(path, 'r+');
    fsyncSync(fd);
    closeSync(fd);
    execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' });
  }
}

export function assertSame(a, b) {
  execFileSync('cmp', [a, b], { stdio: ['ignore', 'inherit', 'inherit'] });
}

/** Two VRAs, the protected end on CPU 0 and the recovery end on CPU 1, and one VM with one disk between them. */
export class SyncPair {
  #revision = 0;
  #vpgId = '';
  #diskState;

  /** `site`: over mutual TLS with its certificates. */
  static async start({ folder, disk, sizeBytes, captureBytesMax, site }) {
    const pair = new SyncPair();
    pair.folder = folder;
    pair.#diskState = { diskId: 'disk', exportName: 'disk', path: disk, sizeBytes };
    pair.protecting = await startEngine({ vraId: 'protecting', folder, cpu: 0, captureBytesMax, site });
    pair.recovering = await startEngine({ vraId: 'recovering', folder, cpu: 1, site });
    pair.address = pair.recovering.address;
    await pair.#apply([]);
    return pair;
  }

  get uri() {
    return `nbd+unix:///disk?socket=${this.protecting.socket}`;
  }

  async #apply(protections) {
    this.#revision += 1;
    await this.protecting.call('applyDesiredState', { revision: this.#revision, attachedVms: [{ vmId: 'vm', disks: [this.#diskState] }], protections, barriers: [] });
  }

  /** A new VPG onto this mirror. Answers when its sync is durable: seconds since it was asked for, bytes sent, CPU of both ends. */
  async protect({ mirror, isPreseeded = false }) {
    this.#vpgId = randomUUID();
    const datastore = join(this.folder, 'recovery');
    const cpuBefore = this.cpuMicros();
    const startedAt = performance.now();
    await this.recovering.call('putRecovery', {
      vpgId: this.#vpgId, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: this.recovering.address, vmIds: ['vm'] }], historyMs: 3_600_000,
      volumes: [{ diskId: 'disk', sizeBytes: this.#diskState.sizeBytes, mirrorPath: mirror, isPreseeded }], journalFolder: join(datastore, `journal-${this.#vpgId}`),
      datastore: { path: datastore, capacityBytes: 1024 ** 4 },
    });
    await this.#apply([{ vpgId: this.#vpgId, vmId: 'vm', epoch: 1, diskIds: ['disk'], recoveringVra: this.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }]);
    const { sentBytes } = await this.synced();
    const cpuAfter = this.cpuMicros();
    return { seconds: (performance.now() - startedAt) / 1000, sentBytes, cpuMicros: cpuAfter - cpuBefore };
  }

  cpuMicros() {
    return [this.protecting, this.recovering].reduce((total, { pid }) => total + cpuMicrosOf(pid), 0);
  }

  async status() {
    return (await this.protecting.call('status')).protections[0];
  }

  /** Everything is durable at the other end: mirror and journal are flushed by then. */
  async synced() {
    for (;;) {
      const status = await this.status();
      if (status.state === 'replicating' && status.lagBytes === 0 && status.sync === null) return status;
      if (status.state === 'failed' || status.state === 'refused') throw new Error(`the sync ${status.state}: ${status.detail}`);
      await delay(20);
    }
  }

  /** Ends the VPG; the mirror stays. */
  async unprotect() {
    await this.#apply([]);
    await this.recovering.call('removeRecovery', { vpgId: this.#vpgId, vmId: 'vm', isMirrorKept: true });
  }

  async stop() {
    await this.protecting.stop();
    await this.recovering.stop();
  }
}
