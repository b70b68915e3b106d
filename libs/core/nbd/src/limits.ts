import { BLOCK_BYTES, MiB } from '@tidemark/base';

/** The longest READ and WRITE, announced as block size. Commands without payload go up to 2^32 - 1. */
export const PAYLOAD_BYTES_MAX = 32 * MiB;
/** Byte requests are served: a guest's sector size is its hypervisor's business, and the volume port takes any alignment. */
export const BLOCK_BYTES_MIN = 1;
export const BLOCK_BYTES_PREFERRED = BLOCK_BYTES;

/** The protocol's own limit of a name, a description or a query. */
export const STRING_BYTES_MAX = 4096;
/** One option: two strings and some numbers; a peer that says more is not one of ours. */
export const OPTION_BYTES_MAX = 16 * 1024;
/** A client needs about six. */
export const OPTIONS_MAX = 256;
/** Runs in one block status reply: 8 KiB of descriptors. A client asks again for the rest. */
export const STATUS_RUNS_MAX = 1024;
/** The part of a block status request that is looked at. A client asks again for the rest. */
export const STATUS_BYTES_MAX = 1024 * MiB;

/** As client: one reply to an option. Names and descriptions fit twice. */
export const OPTION_REPLY_BYTES_MAX = 16 * 1024;
/** As client: replies to one option before the one that ends it. A server that talks on is not one of ours. */
export const OPTION_REPLIES_MAX = 64;
/** As client: bytes of one block status or error chunk. A run takes 8 bytes, and {@link CLIENT_STATUS_BYTES_MAX} in 512-byte runs fits. */
export const CHUNK_BYTES_MAX = 4 * MiB + 64;
/** As client: bytes of the volume that one block status request asks about. */
export const CLIENT_STATUS_BYTES_MAX = 256 * MiB;
/** As client: pieces of one read reply. Pieces of 512 bytes in a read of 32 MiB would be as many. */
export const READ_PIECES_MAX = 65_536;
