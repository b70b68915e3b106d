/** Numbers of the NBD protocol, as its document names them (github.com/NetworkBlockDevice/nbd, doc/proto.md). All big-endian. */

export const NBD_MAGIC_HIGH = 0x4e42_444d; // 'NBDMAGIC'
export const NBD_MAGIC_LOW = 0x4147_4943;
export const OPTION_MAGIC_HIGH = 0x4948_4156; // 'IHAVEOPT'
export const OPTION_MAGIC_LOW = 0x454f_5054;
export const OPTION_REPLY_MAGIC_HIGH = 0x0003_e889;
export const OPTION_REPLY_MAGIC_LOW = 0x0455_65a9;
export const REQUEST_MAGIC = 0x2560_9513;
export const SIMPLE_REPLY_MAGIC = 0x6744_6698;
export const CHUNK_MAGIC = 0x668e_33ef;

export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const OptionType = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const;

export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errUnsupported: 0x8000_0001,
  errPolicy: 0x8000_0002,
  errInvalid: 0x8000_0003,
  errTlsRequired: 0x8000_0005,
  errUnknown: 0x8000_0006,
} as const;

export const InfoType = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const TransmissionFlag = {
  hasFlags: 1,
  readOnly: 2,
  sendFlush: 4,
  sendFua: 8,
  sendTrim: 32,
  sendWriteZeroes: 64,
  sendDf: 128,
  canMultiConn: 256,
  sendFastZero: 2048,
} as const;

export const CommandType = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6, blockStatus: 7 } as const;

export const CommandFlag = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 } as const;

export const ChunkType = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5, error: 0x8001, errorOffset: 0x8002 } as const;
export const CHUNK_FLAG_DONE = 1;

export const BlockState = { hole: 1, zero: 2 } as const;

/** Error numbers of the protocol: these, on every platform. */
export const NbdErrno = { eperm: 1, eio: 5, enomem: 12, einval: 22, enospc: 28, eoverflow: 75, enotsup: 95, eshutdown: 108 } as const;
export type NbdErrno = (typeof NbdErrno)[keyof typeof NbdErrno];

/** The only context: which parts are holes, which read as zeroes. */
export const BASE_ALLOCATION = 'base:allocation';
/** Its number on every connection; any would do. */
export const BASE_ALLOCATION_ID = 1;

export const REQUEST_BYTES = 28;
export const OPTION_HEADER_BYTES = 16;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
export const OFFSET_DATA_HEADER_BYTES = CHUNK_HEADER_BYTES + 8;

const TWO_32 = 2 ** 32;

/** A 64-bit offset; `Infinity` when it is above 2^53, and so beyond the end of every volume. */
export function getOffset(view: DataView, at: number): number {
  const high = view.getUint32(at);
  return high < 2 ** 21 ? high * TWO_32 + view.getUint32(at + 4) : Infinity;
}

export function setOffset(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_32));
  view.setUint32(at + 4, value % TWO_32);
}
