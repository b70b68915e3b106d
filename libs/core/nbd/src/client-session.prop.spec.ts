import { expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import fc from 'fast-check';
import { NbdClientSession } from './client-session.js';
import { NbdServerSession } from './server-session.js';
import { joined } from './testing/client-bytes.js';
import { putOffsetData, simpleReply } from './replies.js';

const nbdExport = { name: 'disk', description: '', sizeBytes: 1 << 20, isReadOnly: false };

/** What our own server says to this client while it negotiates, and the client's session after that. */
function negotiated(): { session: NbdClientSession; said: Uint8Array } {
  const session = new NbdClientSession('disk');
  const server = new NbdServerSession({ exports: { list: () => [nbdExport], find: (name) => (name === 'disk' ? nbdExport : undefined) } });
  const said: Uint8Array[] = [];
  for (let isReady = false; !isReady; ) {
    for (let event = server.next(); event !== undefined; event = server.next()) {
      if (event.kind !== 'send') continue;
      said.push(event.bytes);
      session.feed(event.bytes);
    }
    for (let event = session.next(); event !== undefined; event = session.next()) {
      if (event.kind === 'send') server.feed(event.bytes);
      isReady ||= event.kind === 'ready';
    }
  }
  return { session, said: joined(said) };
}

function drain(session: NbdClientSession): void {
  try {
    while (session.next() !== undefined);
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
  }
}

it('survives a negotiation with any byte changed, cut anywhere', () => {
  const { said } = negotiated();
  fc.assert(fc.property(fc.nat(said.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(said.length), (at, change, cut) => {
    const bytes = said.slice();
    bytes[at] = (bytes[at] ?? 0) ^ change;
    const session = new NbdClientSession('disk');
    session.feed(bytes.slice(0, cut));
    drain(session);
    session.feed(bytes.slice(cut));
    drain(session);
  }), { numRuns: 500 });
});

it('never takes a read for whole that had a byte wrong in its framing, nor writes outside its memory', () => {
  fc.assert(fc.property(fc.nat(43), fc.integer({ min: 1, max: 255 }), fc.array(fc.nat(255), { maxLength: 40 }), (at, change, rest) => {
    const { session } = negotiated();
    const memory = new Uint8Array(300).fill(0xa5);
    const { cookie } = session.request({ kind: 'read', offset: 4096, target: memory.subarray(100, 200) });
    const reply = new Uint8Array(28 + 100 + 16);
    const view = new DataView(reply.buffer);
    putOffsetData(view, 0, { cookie: { cookieHigh: 0, cookieLow: cookie }, offset: 4096, length: 100, isLast: true });
    reply.set(simpleReply({ cookieHigh: 0, cookieLow: cookie + 1 }, 0), 128);
    reply[at < 28 ? at : at + 100] = (reply[at < 28 ? at : at + 100] ?? 0) ^ change;
    session.feed(joined([reply, new Uint8Array(rest)]));
    drain(session);
    expect([...memory.subarray(0, 100), ...memory.subarray(200)].every((byte) => byte === 0xa5)).toBe(true);
  }), { numRuns: 500 });
});
