import { expect } from '@jest/globals';
import fc from 'fast-check';
import type { Volume } from '../volume.js';

export type VolumeAction =
  | { readonly kind: 'write'; readonly offset: number; readonly length: number; readonly fill: number }
  | { readonly kind: 'writeZeroes'; readonly offset: number; readonly length: number; readonly mayUnmap: boolean }
  | { readonly kind: 'read'; readonly offset: number; readonly length: number }
  | { readonly kind: 'flush' };

/** Where two byte strings first differ; -1 when they are equal. */
export function differenceAt(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) if (a[i] !== b[i]) return i;
  return a.length === b.length ? -1 : length;
}

/** Sequences of operations whose ranges overlap often and sit on and off block borders. */
export function volumeActions(sizeBytes: number): fc.Arbitrary<VolumeAction[]> {
  const offset = fc.oneof(fc.nat(sizeBytes), fc.nat(Math.floor(sizeBytes / 4096)).map((block) => block * 4096));
  const length = fc.oneof(fc.nat(300), fc.nat(20_000), fc.integer({ min: 1, max: 5 }).map((blocks) => blocks * 4096));
  const range = fc.tuple(offset, length).map(([start, size]) => ({ offset: start, length: Math.min(size, sizeBytes - start) }));
  const action: fc.Arbitrary<VolumeAction> = fc.oneof(
    fc.tuple(range, fc.integer({ min: 1, max: 255 })).map(([at, fill]) => ({ kind: 'write' as const, ...at, fill })),
    fc.tuple(range, fc.boolean()).map(([at, mayUnmap]) => ({ kind: 'writeZeroes' as const, ...at, mayUnmap })),
    range.map((at) => ({ kind: 'read' as const, ...at })),
    fc.constant({ kind: 'flush' as const }),
  );
  return fc.array(action, { maxLength: 25 });
}

/** Does `action` to the volume and to the dumb model; a read compares the two. */
export async function applyToBoth(action: VolumeAction, both: { volume: Volume; model: Uint8Array }): Promise<void> {
  const { volume, model } = both;
  if (action.kind === 'flush') return await volume.flush();
  const { offset, length } = action;
  if (action.kind === 'write') {
    await volume.write(offset, new Uint8Array(length).fill(action.fill));
    model.fill(action.fill, offset, offset + length);
  } else if (action.kind === 'writeZeroes') {
    await volume.writeZeroes(offset, length, { mayUnmap: action.mayUnmap });
    model.fill(0, offset, offset + length);
  } else {
    const target = new Uint8Array(length).fill(0xa5);
    await volume.read(offset, target);
    expect(differenceAt(target, model.subarray(offset, offset + length))).toBe(-1);
  }
}
