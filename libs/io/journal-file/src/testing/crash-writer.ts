/**
 * A process that writes through JournalFile and scratch and reports on stdout what it was told to be durable, until it is killed. Every block of
 * a frame carries the frame's number, so that the parent knows what must be there.
 */
import { join } from 'node:path';
import { argv, stdout } from 'node:process';
import { MemoryVolume } from '@tidemark/volume';
import { FileBench, write } from './fixture.js';

const folder = argv[2] ?? '';
const sizeBytes = 1024 * 1024;
const bench = await FileBench.make({
  folder,
  mirrors: [new MemoryVolume({ sizeBytes })],
  segmentBytes: 512 * 1024,
  onDurable: (seq) => stdout.write(`durable ${seq}\n`),
});

/** 16 blocks filled with the frame's number. */
function frame(round: number): ReturnType<typeof write>[] {
  return Array.from({ length: 16 }, (_, i) => {
    const payload = new Uint8Array(4096);
    new Uint32Array(payload.buffer).fill(round);
    return write(((round * 16 + i) % 256) * 4096, payload);
  });
}

const isNew = bench.journal.stats().durableSeq === 0;
await bench.begin();
if (isNew) bench.sendBase();
let round = Number(argv[3] ?? 1);
const held = bench.journal.checkpoints()[0]?.checkpointId;
const view = held === undefined ? undefined : await bench.journal.openView({ checkpointId: held, scratchFolder: join(folder, 'scratch') });
for (;;) {
  bench.send(frame(round));
  bench.sendCheckpoint(round);
  const payload = new Uint8Array(4096);
  new Uint32Array(payload.buffer).fill(round);
  await view?.volumes[0]?.write((round % 200) * 4096, payload);
  if (view !== undefined) stdout.write(`scratch ${round}\n`);
  stdout.write(`sent ${round} ${bench.lastSeq}\n`);
  round += 1;
  await new Promise((resolve) => setTimeout(resolve, 1));
}
