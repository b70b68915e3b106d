import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';

const compress = promisify(gzip);
const decompress = promisify(gunzip);
/**
 * Longer requests and answers travel gzipped: a day of checkpoints is 4 to 5 MB of JSON, above what a broker takes in one
 * message, and some 200 KB packed. JSON never begins with gzip's first byte (RFC 1952: 1f 8b).
 */
const PLAIN_BYTES_MAX = 64 * 1024;
/** What a packed message may become: more is a broken or hostile sender. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;

export async function encodeMessage(message: unknown): Promise<Uint8Array> {
  const plain = Buffer.from(JSON.stringify(message));
  return plain.byteLength <= PLAIN_BYTES_MAX ? plain : await compress(plain, { level: 1 });
}

export const isPacked = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Throws SyntaxError for what is not JSON, and zlib's error for what does not unpack within its limit. */
export async function decodeMessage(bytes: Uint8Array): Promise<unknown> {
  const plain = isPacked(bytes) ? await decompress(bytes, { maxOutputLength: MESSAGE_BYTES_MAX }) : bytes;
  return JSON.parse(new TextDecoder().decode(plain));
}
