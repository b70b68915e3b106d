/**
 * The peer's second end: appends as many bytes to a file as another process has written since, and makes them durable, again and again, as a
 * replica would that gets the same bytes. Arguments: pid to follow, file. Ends on SIGTERM.
 */
import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';

const [pid, file] = process.argv.slice(2);
const CHUNK = Buffer.alloc(1024 * 1024, 0x5a);
/** The file begins again here: the benchmark measures writing, not the size of the disk. */
const FILE_BYTES_MAX = 2 * 1024 ** 3;

const writtenBytes = () => Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))[1]);
const fd = openSync(file, 'w');
let behind = 0;
let seen = writtenBytes();
let at = 0;

function follow() {
  const now = writtenBytes();
  behind += now - seen;
  seen = now;
  if (behind === 0) {
    setTimeout(follow, 1);
    return;
  }
  for (; behind > 0; ) {
    const length = Math.min(behind, CHUNK.length);
    writeSync(fd, CHUNK, 0, length, at % FILE_BYTES_MAX);
    at += length;
    behind -= length;
  }
  fdatasyncSync(fd);
  setImmediate(follow);
}

process.on('SIGTERM', () => {
  closeSync(fd);
  process.exit(0);
});
follow();
