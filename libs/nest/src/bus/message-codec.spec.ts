import { expect, it } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import { decodeMessage, encodeMessage, isPacked } from './message-codec.js';

it('a packed message becomes 64 MiB at most, whatever little it was on the wire', async () => {
  // 65 KB on the wire: far below what the broker lets through.
  const bomb = gzipSync(Buffer.concat([Buffer.from('"'), Buffer.alloc(64 << 20, 'x'), Buffer.from('"')]));
  expect(bomb.byteLength).toBeLessThan(1 << 20);
  await expect(decodeMessage(bomb)).rejects.toMatchObject({ code: 'ERR_BUFFER_TOO_LARGE' });
}, 60_000);

it('is packed when it is long, and read either way', async () => {
  for (const text of ['short', 'x'.repeat(100_000)]) {
    const bytes = await encodeMessage({ text });
    expect(isPacked(bytes)).toBe(text.length > 65_536);
    expect(await decodeMessage(bytes)).toEqual({ text });
  }
});
