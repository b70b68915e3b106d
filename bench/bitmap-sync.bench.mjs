/**
 * The link is cut while the guest writes more than the VRA may keep in memory: 5 % of the blocks of a 4 GiB volume, each twice. When the link is back, the bytes that are sent are set against
 * those of the distinct 4 KiB blocks that were written. Compression is off.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BLOCK_BYTES, makeVolume, MiB, SyncPair } from './lib/sync-pair.mjs';

export const tools = ['fio', 'taskset'];

/** Bytes sent may be so much more than the blocks are long. */
const SENT_MAX = 1.05;

/** A TCP connection through this process, which can be cut. */
async function cuttable(port) {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((client) => {
    if (isCut) return client.destroy();
    const peer = connect({ host: '127.0.0.1', port });
    for (const socket of [client, peer]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => { sockets.delete(socket); client.destroy(); peer.destroy(); });
    }
    client.pipe(peer).pipe(client);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    cut() { isCut = true; for (const socket of sockets) socket.destroy(); },
    heal() { isCut = false; },
    close() { this.cut(); server.close(); },
  };
}

function write(uri, { sizeBytes, bytes, seed }) {
  execFileSync('fio', [
    '--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k', '--iodepth=16', `--size=${sizeBytes}`, `--io_size=${bytes}`, '--randrepeat=1', `--randseed=${seed}`,
    '--refill_buffers=1', '--output-format=terse',
  ], { stdio: 'ignore' });
}

export async function run({ rounds, isTiny, folder, progress }) {
  const sizeBytes = (isTiny ? 200 : 4096) * MiB;
  const source = join(folder, 'source.raw');
  const mirror = join(folder, 'recovery', 'mirror.raw');
  mkdirSync(join(folder, 'recovery'));
  makeVolume(source, sizeBytes);
  const pair = await SyncPair.start({ folder, disk: source, sizeBytes, captureBytesMax: (isTiny ? 4 : 64) * MiB });
  const link = await cuttable(pair.recovering.address.dataPort);
  pair.address = { ...pair.recovering.address, dataPort: link.port };
  const samples = [];
  try {
    await pair.protect({ mirror });
    progress('initial sync done');
    const distinctBytes = Math.floor((sizeBytes * 0.05) / BLOCK_BYTES) * BLOCK_BYTES;
    const startedAt = performance.now();
    for (let round = 0; round < Math.min(rounds, 3) && performance.now() - startedAt < 100_000; round += 1) {
      const { sentBytes } = await pair.status();
      link.cut();
      while ((await pair.status()).state !== 'connecting') await delay(20);
      // The same places twice: fio draws each block once per pass, and the same ones for the same seed.
      for (let pass = 0; pass < 2; pass += 1) write(pair.uri, { sizeBytes, bytes: distinctBytes, seed: round + 1 });
      const { lagBytes } = await pair.status();
      if (lagBytes !== distinctBytes) throw new Error(`${lagBytes} bytes differ, ${distinctBytes} were written`);
      link.heal();
      const after = await pair.synced();
      samples.push({ sentBytes: after.sentBytes - sentBytes, distinctBytes });
      progress(`${samples.at(-1).sentBytes} bytes sent for ${distinctBytes} changed`);
    }
    await pair.unprotect();
    return [{
      case: 'bytes sent ÷ distinct changed blocks × 4096', unit: 'bytes', goal: 1 / SENT_MAX, peerName: 'changed blocks',
      ours: Math.max(...samples.map(({ sentBytes }) => sentBytes)), peer: distinctBytes,
      ratio: Math.min(...samples.map((sample) => sample.distinctBytes / sample.sentBytes)),
      spread: [Math.min(...samples.map((sample) => sample.distinctBytes / sample.sentBytes)), Math.max(...samples.map((sample) => sample.distinctBytes / sample.sentBytes))],
    }];
  } finally {
    link.close();
    await pair.stop();
  }
}
