import type { Crc32c } from '@tidemark/base';

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** Table-driven CRC-32C, for tests of the pure ring. */
export const crc32cTable: Crc32c = (bytes, previous = 0) => {
  let crc = ~previous >>> 0;
  for (const byte of bytes) crc = ((crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0)) >>> 0;
  return ~crc >>> 0;
};
