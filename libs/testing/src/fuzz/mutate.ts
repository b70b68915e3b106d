import type { Random } from '../sim/random.js';

/** Numbers at which lengths, counts and offsets go wrong. */
const EDGES = [0, 1, 2, 7, 8, 63, 64, 65, 127, 128, 255, 256, 4095, 4096, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/** A copy with one to eight changes: bits, bytes, numbers at their edges in either byte order, parts cut, doubled, moved or made up. */
export function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  let result: Uint8Array = bytes.slice();
  for (let left = 1 + random.int(random.chance(0.7) ? 2 : 8); left > 0; left -= 1) result = change(result, random);
  return result;
}

function change(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return noise(1 + random.int(64), random);
  const at = random.int(bytes.length);
  switch (random.int(8)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8));
      return bytes;
    case 1:
      bytes[at] = random.int(256);
      return bytes;
    case 2:
    case 3:
      return withNumber(bytes, at, random);
    case 4:
      return bytes.subarray(0, at);
    case 5: {
      const end = at + random.int(Math.min(64, bytes.length - at) + 1);
      return joined([bytes.subarray(0, at), bytes.subarray(end)]);
    }
    case 6: {
      const end = at + random.int(Math.min(256, bytes.length - at) + 1);
      return joined([bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end)]);
    }
    default:
      return joined([bytes.subarray(0, at), noise(random.int(32), random), bytes.subarray(at)]);
  }
}

function withNumber(bytes: Uint8Array, at: number, random: Random): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const value = random.chance(0.8) ? random.pick(EDGES) : random.int(2 ** 31);
  const isLittle = random.chance(0.5);
  const width = random.pick([2, 4, 4, 8]);
  // Fields lie on even places more often than not.
  const place = random.chance(0.7) ? at - (at % width) : at;
  if (place + width > bytes.length) return bytes;
  if (width === 2) view.setUint16(place, value & 0xffff, isLittle);
  else if (width === 4) view.setUint32(place, value, isLittle);
  else view.setBigUint64(place, BigInt(value) << BigInt(random.pick([0, 21, 32])), isLittle);
  return bytes;
}

export function noise(length: number, random: Random): Uint8Array {
  return Uint8Array.from({ length }, () => random.int(256));
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The same bytes in pieces, as a socket gives them. */
export function pieces(bytes: Uint8Array, random: Random): Uint8Array[] {
  const all: Uint8Array[] = [];
  const sizeMax = random.pick([1, 16, 1000, 70_000]);
  for (let at = 0; at < bytes.length;) {
    const size = 1 + random.int(sizeMax);
    all.push(bytes.slice(at, at + size));
    at += size;
  }
  return all;
}

/** JSON of the same shape with values of other types and sizes, missing and unknown fields; now and then broken text. */
export function mutatedJson(value: unknown, random: Random): string {
  const text = JSON.stringify(odd(value, random, 0));
  if (!random.chance(0.2)) return text;
  const at = random.int(text.length + 1);
  return random.chance(0.5) ? text.slice(0, at) : `${text.slice(0, at)}${random.pick(['{', '"', '\\u0000', '[[[[[[', 'null', '1e999', '\u{1f600}', '__proto__'])}${text.slice(at)}`;
}

const ODD: readonly unknown[] = [null, true, '', 'x', -1, 0, 1.5, 2 ** 53, -(2 ** 53), 1e308, [], {}, 'x'.repeat(5000), Array(300).fill(0), { toString: 1 }, { length: 2 ** 31 }];

function odd(value: unknown, random: Random, depth: number): unknown {
  if (random.chance(depth === 0 ? 0.03 : 0.12)) return random.pick(ODD);
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => odd(item, random, depth + 1));
    return random.chance(0.1) ? [...items, ...items, random.pick(ODD)] : items;
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(() => !random.chance(0.04)).map(([key, item]): [string, unknown] => [key, odd(item, random, depth + 1)]);
  if (random.chance(0.05)) entries.push([random.pick(['__proto__', 'constructor', 'more']), random.pick(ODD)]);
  return Object.fromEntries(entries);
}
