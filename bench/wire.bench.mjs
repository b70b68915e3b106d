/**
 * Bytes on 4008 per byte written, by what is written: everything that passes the connection to the recovering VRA counts (headers, record tables, checkpoints,
 * pings). Peer: for compressible data the zstd command at level 1 over the same frames' raw bodies, with the codec fixed to zstd (the load is paced, so the
 * stream keeps up, and a stream that keeps up takes zstd; the row says what it chose); for incompressible data the bytes written themselves.
 */
import { FrameDecoder, FrameKind } from '@tidemark/frame';
import { crc32c, decompressBody } from '@tidemark/link';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startPair } from './lib/pair.mjs';
import { rowOf } from './lib/statistics.mjs';

export const tools = ['zstd', 'taskset'];

const MiB = 1024 * 1024;
const WORDS = 'order customer invoice shipped pending amount total 2026-11-22 EUR street Berlin Aachen warehouse item quantity price paid error info debug request reply'.split(' ');
const PAGE_BYTES = 8192;

/** Lines of a log, as text compresses: words by chance, numbers that are new. */
function text(bytes) {
  const lines = [];
  for (let length = 0; length < bytes;) {
    const line = Array.from({ length: 12 }, () => WORDS[Math.floor(Math.random() ** 2 * WORDS.length)]).join(' ') + ` ${Math.floor(Math.random() * 1e9)}\n`;
    lines.push(line);
    length += line.length;
  }
  return Buffer.from(lines.join('')).subarray(0, bytes);
}

/** A table's page: a header, rows of 120 bytes with ids, times, a few words and a random key, free space in the middle. */
function page() {
  const bytes = Buffer.alloc(PAGE_BYTES);
  randomBytes(8).copy(bytes, 0);
  for (let at = 400; at + 120 < PAGE_BYTES * 0.85; at += 120) {
    bytes.writeUInt32LE(Math.floor(Math.random() * 1e6), at);
    bytes.writeDoubleLE(Date.now() - Math.random() * 1e9, at + 8);
    bytes.write(`${WORDS[Math.floor(Math.random() * WORDS.length)]} ${WORDS[Math.floor(Math.random() * WORDS.length)]}`, at + 24);
    randomBytes(16).copy(bytes, at + 80);
  }
  return bytes;
}

const CASES = [
  { name: 'incompressible', writeBytes: 65_536, make: randomBytes, goal: 1 / 1.01 },
  { name: 'text', writeBytes: 65_536, make: text, goal: 1 / 1.05 },
  { name: 'database page updates', writeBytes: PAGE_BYTES, make: page, goal: 1 / 1.05 },
];

/** Frames as they pass, and every byte. */
async function tap() {
  const frames = [];
  const decoder = new FrameDecoder({ crc32c });
  let bytes = 0;
  return {
    frames,
    get bytes() { return bytes; },
    reset() { bytes = 0; frames.length = 0; },
    take(direction, chunk) {
      if (direction !== 'toTarget') return;
      bytes += chunk.length;
      decoder.feed(Buffer.from(chunk), (header, body) => {
        if (header.kind === FrameKind.records) frames.push({ codec: header.codec, wireBytes: body.length + 64, raw: Buffer.from(decompressBody(header.codec, body, header.rawBytes)) });
      });
    },
  };
}

/** zstd -1 over each frame's raw body, one file each, one run of the command. */
function zstdBytes(frames, folder) {
  const place = join(folder, `frames-${Math.random().toString(36).slice(2)}`);
  mkdirSync(place);
  const files = frames.map(({ raw }, index) => {
    const file = join(place, String(index));
    writeFileSync(file, raw);
    return file;
  });
  for (let at = 0; at < files.length; at += 200) {
    const { status, stderr } = spawnSync('zstd', ['-1', '-q', '-f', '--no-check', '--rm', ...files.slice(at, at + 200)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`zstd: ${stderr}`);
  }
  const { stdout } = spawnSync('sh', ['-c', 'cat "$1"/*.zst | wc -c', 'sh', place], { encoding: 'utf8' });
  return Number(stdout);
}

export async function run({ rounds, isTiny, only, folder, progress }) {
  const rows = [];
  const totalBytes = isTiny ? 1 * MiB : 16 * MiB;
  for (const { name, writeBytes, make, goal } of CASES.filter((each) => each.name.includes(only))) {
    const tapped = await tap();
    const home = join(folder, name.replaceAll(' ', '-'));
    mkdirSync(home);
    const pair = await startPair({ folder: home, sizeBytes: 64 * MiB, intervalMs: 5000, isCompressed: true, link: { onBytes: tapped.take } });
    const ours = [];
    const peer = [];
    const counts = [0, 0, 0];
    try {
      for (let round = 0; round < Math.min(rounds, 5); round += 1) {
        await pair.settle();
        tapped.reset();
        for (let sent = 0; sent < totalBytes; sent += writeBytes) {
          await pair.guest.write(Math.floor(Math.random() * (64 * MiB / writeBytes)) * writeBytes, make(writeBytes));
          // 20 MB/s or so: the workers keep up, so the codec is the one with the fewest bytes.
          if (sent % (256 * 1024) < writeBytes) await delay(10);
        }
        await pair.settle();
        const written = Math.ceil(totalBytes / writeBytes) * writeBytes;
        ours.push(tapped.bytes / written);
        peer.push((name === 'incompressible' ? written : zstdBytes(tapped.frames, home)) / written);
        for (const { codec } of tapped.frames) counts[codec] += 1;
        progress(`wire: ${name} ${ours.at(-1).toFixed(3)} : ${peer.at(-1).toFixed(3)}`);
      }
    } finally {
      await pair.stop();
    }
    const frames = counts.reduce((sum, count) => sum + count, 0);
    const chosen = ['none', 'lz4', 'zstd'].flatMap((codec, index) => (counts[index] > 0 ? [`${codec} ${Math.round((100 * counts[index]) / frames)} %`] : [])).join(', ');
    rows.push(rowOf({ case: `${name} (${chosen})`, unit: 'bytes on the wire per byte written', ours, peer, peerName: name === 'incompressible' ? 'bytes written' : 'zstd -1 over the same frames', goal, isLessBetter: true }));
  }
  return rows;
}
