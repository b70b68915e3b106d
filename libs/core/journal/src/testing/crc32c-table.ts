import type { Crc32c } from '@tidemark/base';

const TABLE = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = (value & 1) === 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** CRC-32C by table, for tests of the pure ring. */
export const crc32cTable: Crc32c = (bytes, previous = 0) => {
  let crc = ~previous >>> 0;
  for (let i = 0; i < bytes.byteLength; i += 1) crc = (TABLE[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
};
