import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { agree, decodeHello, encodeHello, FrameDecoder, OWN_HELLO, type FrameHeader } from './index.js';
import { joined } from './testing/arbitraries.js';
import { crc32cTable as crc32c } from '@tidemark/base/testing';

const bodyOf = (bytes: Uint8Array): { header: FrameHeader; body: Uint8Array } => {
  const taken: { header: FrameHeader; body: Uint8Array }[] = [];
  new FrameDecoder({ crc32c }).feed(bytes, (header, body) => taken.push({ header, body }));
  const [frame] = taken;
  if (!frame) throw new Error('no frame');
  return frame;
};

describe('hello', () => {
  it('comes back as it was, with room for what later versions add', () => {
    const { body } = bodyOf(joined(encodeHello({ versionMin: 2, versionMax: 7, features: 0xffff_fffe }, crc32c)));
    expect(decodeHello(body)).toEqual({ versionMin: 2, versionMax: 7, features: 0xffff_fffe });
    expect(decodeHello(Uint8Array.of(...body, 1, 2, 3))).toEqual(decodeHello(body));
  });

  it('finds the highest common version and the common features', () => {
    expect(agree({ versionMin: 1, versionMax: 3, features: 0b0111 }, { versionMin: 2, versionMax: 9, features: 0b1101 })).toEqual({ version: 3, features: 0b0101 });
    expect(agree(OWN_HELLO, { versionMin: 1, versionMax: 4, features: 0xffff_ffff })).toEqual({ version: 1, features: OWN_HELLO.features });
  });

  it('of a peer without a common version is an error that names both', () => {
    expect(() => agree(OWN_HELLO, { versionMin: 2, versionMax: 3, features: 0 })).toThrow('the peer speaks frame versions 2 to 3, this side speaks frame version 1');
  });

  it('that is short or upside down is refused', () => {
    for (const body of [[], [1, 0, 1, 0], [2, 0, 1, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0]]) {
      expect(() => decodeHello(Uint8Array.from(body))).toThrow(ProtocolError);
    }
  });
});
