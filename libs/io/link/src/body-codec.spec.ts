import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { decodeHeader, FRAME_HEADER_BYTES } from '@tidemark/frame';
import { crc32c } from './checksum.js';
import { decompressBody } from './body-codec.js';

const golden = JSON.parse(readFileSync(new URL('../../../core/frame/testdata/frame-v1.json', import.meta.url), 'utf8')) as Record<string, string>;

describe('a compressed body that an independent encoder has made', () => {
  it.each(['recordsLz4', 'recordsZstd'])('of %s gives the records of the frame that is not compressed', (name) => {
    const [packed, plain] = [name, 'records'].map((each) => Buffer.from(golden[each] ?? '', 'hex')) as [Buffer, Buffer];
    const { codec, rawBytes } = decodeHeader(packed.subarray(0, FRAME_HEADER_BYTES), crc32c);
    expect(Buffer.from(decompressBody(codec, packed.subarray(FRAME_HEADER_BYTES), rawBytes))).toEqual(plain.subarray(FRAME_HEADER_BYTES));
  });
});
