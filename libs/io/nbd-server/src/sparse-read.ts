import { type Cookie, mergedRuns, offsetHole, OFFSET_DATA_HEADER_BYTES, putOffsetData, type StatusRun } from '@tidemark/nbd';
import type { Volume } from '@tidemark/volume';

/** From this length on it pays to ask for holes first: they then cost neither a read nor the wire. */
export const SPARSE_READ_BYTES_MIN = 128 * 1024;
/** More pieces than this cost more than the zeroes between them. */
const PIECES_MAX = 64;

interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly isZero: boolean;
}

/**
 * The chunks of a structured read: holes where the volume reads as zeroes, the rest as data. Rejects with the volume's
 * error before anything was sent.
 */
export async function readSparse(volume: Volume, range: { cookie: Cookie; offset: number; length: number }): Promise<Uint8Array[]> {
  const pieces = piecesOf(range, await volume.allocation(range.offset, range.length));
  return await Promise.all(pieces.map((piece, i) => chunkOf(volume, piece, { cookie: range.cookie, isLast: i === pieces.length - 1 })));
}

/** Beyond {@link PIECES_MAX} the rest is one piece of data, whatever it holds. */
function piecesOf(range: { offset: number; length: number }, runs: readonly StatusRun[]): Piece[] {
  const states = runs.map(({ length, isZero }) => ({ length, isHole: isZero, isZero }));
  const pieces: Piece[] = [];
  let at = range.offset;
  for (const run of mergedRuns(states, { length: range.length, runsMax: PIECES_MAX })) {
    pieces.push({ offset: at, length: run.length, isZero: run.isZero });
    at += run.length;
  }
  const end = range.offset + range.length;
  if (at < end) pieces.push({ offset: at, length: end - at, isZero: false });
  return pieces;
}

async function chunkOf(volume: Volume, piece: Piece, reply: { cookie: Cookie; isLast: boolean }): Promise<Uint8Array> {
  if (piece.isZero) return offsetHole({ ...reply, offset: piece.offset, length: piece.length });
  const bytes = Buffer.allocUnsafeSlow(OFFSET_DATA_HEADER_BYTES + piece.length);
  putOffsetData(new DataView(bytes.buffer), 0, { ...reply, offset: piece.offset, length: piece.length });
  await volume.read(piece.offset, bytes.subarray(OFFSET_DATA_HEADER_BYTES));
  return bytes;
}
