import { describe, expect, it } from '@jest/globals';
import { PassThrough } from 'node:stream';
import { OUTPUT_BYTES_MAX, OutputTail } from './output-tail.js';

async function fed(pieces: number): Promise<{ readonly text: string; readonly pauses: number }> {
  const stream = new PassThrough({ highWaterMark: 1 });
  const tail = new OutputTail(stream);
  const state = { pauses: 0 };
  stream.on('pause', () => (state.pauses += 1));
  for (let at = 0; at < pieces; at += 1) await new Promise<void>((resolve) => stream.write(Buffer.alloc(OUTPUT_BYTES_MAX / 2, 97 + at), () => resolve()));
  const ended = new Promise((resolve) => stream.once('end', resolve));
  stream.end('é');
  await ended;
  return { text: tail.text(), pauses: state.pauses };
}

describe('the output of a script', () => {
  it('is read as it comes up to its limit, and slowly beyond: what is written first is forgotten', async () => {
    expect(await fed(1)).toEqual({ text: `${'a'.repeat(OUTPUT_BYTES_MAX / 2)}é`, pauses: 0 });
    const { text, pauses } = await fed(6);
    expect([Buffer.byteLength(text), text.slice(-2), text.includes('c'), pauses > 1]).toEqual([OUTPUT_BYTES_MAX, 'fé', false, true]);
  });
});
