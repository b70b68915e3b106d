import { assert } from '@tidemark/base';
import { sys } from './load-sys.js';
import type { Sys } from './sys.js';

/** What direct reads ask of memory, offset and length, whatever the disk: 512 B would do for many, 4 KiB does for all. */
export const PAGE_BYTES = 4096;

/** `bytes` of memory that begin on a page, out of memory that is {@link PAGE_BYTES} longer; any part of it where addresses cannot be seen. */
export function pageAligned<T extends Uint8Array>(memory: T, bytes: number, calls: Sys = sys): T {
  assert(memory.length >= bytes + PAGE_BYTES, 'a page more than is taken');
  const skip = calls.isAvailable ? bytesToPage(calls.addressOf(memory)) : 0;
  return memory.subarray(skip, skip + bytes) as T;
}

const bytesToPage = (address: bigint): number => (PAGE_BYTES - Number(address % BigInt(PAGE_BYTES))) % PAGE_BYTES;
