import { closeSync, fdatasyncSync, fsyncSync, openSync, writeFileSync, writeSync } from 'node:fs';

const MiB = 1024 * 1024;

/** A file of `sizeBytes` that holds data, durable: no contestant pays for first allocation. */
export function fill(file, sizeBytes) {
  const fd = openSync(file, 'w');
  const bytes = Buffer.alloc(MiB, 0x5a);
  for (let at = 0; at < sizeBytes; at += MiB) writeSync(fd, bytes, 0, MiB, at);
  fsyncSync(fd);
  closeSync(fd);
}

/** What a run left dirty is synced before the next one begins: nobody pays for his neighbour. */
export function settleFile(file) {
  const fd = openSync(file, 'r+');
  fdatasyncSync(fd);
  closeSync(fd);
}

/** Nobody finds in memory what he has written before. Root alone may; else whoever reads this machine's figures has to know that they are warm. */
export function dropCaches() {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
  } catch (error) {
    console.error(`the page cache could not be dropped: ${error.message}`);
  }
}
