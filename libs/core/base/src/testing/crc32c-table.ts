import type { Crc32c } from '../ports.js';

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32C by table, for tests of the pure ring. */
export const crc32cTable: Crc32c = (bytes, previous = 0) => {
  let crc = ~previous >>> 0;
  // By index, not by iterator: tests put whole journals through it.
  for (let i = 0; i < bytes.byteLength; i += 1) crc = (TABLE[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
};
