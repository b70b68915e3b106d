import { ProtocolError, viewOf, type Crc32c } from '@tidemark/base';
import { encodeFrame } from './frame.js';
import { FRAME_VERSION, FrameKind } from './layout.js';
import { HELLO_BYTES } from './limits.js';

/** Body of `hello`, the first frame of each side on every connection. Later versions may add bytes behind it, never change these. */
export const HELLO_AT = {
  versionMin: 0, // u16, lowest frame version that this side speaks
  versionMax: 2, // u16, highest
  features: 4, // u32, one bit each
} as const;

/** What a side can do beyond its version. A bit that the peer does not set is not used; an unknown bit means nothing here. */
export const FrameFeature = { lz4: 1, zstd: 2 } as const;

export interface Hello {
  readonly versionMin: number;
  readonly versionMax: number;
  readonly features: number;
}

export const OWN_HELLO: Hello = { versionMin: FRAME_VERSION, versionMax: FRAME_VERSION, features: FrameFeature.lz4 | FrameFeature.zstd };

/** The whole frame. Its header is of version 1 whatever the sides speak: so that any two of them can at least say why they cannot talk. */
export function encodeHello(hello: Hello, crc32c: Crc32c): Uint8Array[] {
  const body = new Uint8Array(HELLO_BYTES);
  const view = viewOf(body);
  view.setUint16(HELLO_AT.versionMin, hello.versionMin, true);
  view.setUint16(HELLO_AT.versionMax, hello.versionMax, true);
  view.setUint32(HELLO_AT.features, hello.features, true);
  return encodeFrame({ kind: FrameKind.hello }, [body], crc32c);
}

/** Throws ProtocolError. */
export function decodeHello(body: Uint8Array): Hello {
  if (body.byteLength < HELLO_BYTES) throw new ProtocolError('PROTOCOL_LAYOUT', `hello of ${body.byteLength} bytes`);
  const view = viewOf(body);
  const hello = {
    versionMin: view.getUint16(HELLO_AT.versionMin, true),
    versionMax: view.getUint16(HELLO_AT.versionMax, true),
    features: view.getUint32(HELLO_AT.features, true),
  };
  if (hello.versionMin === 0 || hello.versionMin > hello.versionMax) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `hello with versions ${hello.versionMin} to ${hello.versionMax}`);
  }
  return hello;
}

export interface Agreement {
  readonly version: number;
  /** Bits that both sides set. */
  readonly features: number;
}

/** The highest version that both speak. Throws ProtocolError PROTOCOL_VERSION, naming both ranges, when there is none. */
export function agree(own: Hello, peer: Hello): Agreement {
  const version = Math.min(own.versionMax, peer.versionMax);
  if (version < Math.max(own.versionMin, peer.versionMin)) {
    throw new ProtocolError('PROTOCOL_VERSION', `the peer speaks ${rangeOf(peer)}, this side speaks ${rangeOf(own)}`);
  }
  return { version, features: (own.features & peer.features) >>> 0 };
}

const rangeOf = ({ versionMin, versionMax }: Hello): string =>
  versionMin === versionMax ? `frame version ${versionMin}` : `frame versions ${versionMin} to ${versionMax}`;
