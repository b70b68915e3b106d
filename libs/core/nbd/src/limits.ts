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
