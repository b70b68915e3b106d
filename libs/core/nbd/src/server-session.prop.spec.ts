import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import fc from 'fast-check';
import { type NbdExport, NbdServerSession, type NbdServerEvent } from './index.js';
import { contextOption, clientFlags, goOption, infoOption, joined, option, requestBytes, structuredReplyOption, usualHandshake } from './testing/index.js';
import { CommandType, OptionType } from './wire.js';

const DISK: NbdExport = { name: 'disk', description: 'd', sizeBytes: 2 ** 20, isReadOnly: false };
const exports = { list: () => [DISK], find: (name: string) => (name === 'disk' ? DISK : undefined) };

/** Every kind of message, right and wrong ones; short payloads, so that all pairs of cuts can be tried. */
const DIALOGUE = joined([
  clientFlags(), option(OptionType.list), option(99, new Uint8Array(3)), structuredReplyOption(), infoOption('disk', [1, 2]),
  contextOption(OptionType.setMetaContext, 'disk', ['x:y', 'base:allocation']), goOption('none'), goOption('disk', [3]),
  requestBytes({ type: CommandType.write, cookie: 1, offset: 5, payload: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8, 9]) }),
  requestBytes({ type: CommandType.read, cookie: 2, offset: 4096, length: 512, flags: 4 }),
  requestBytes({ type: CommandType.write, cookie: 3, offset: 2 ** 20, payload: new Uint8Array([1, 2]) }),
  requestBytes({ type: CommandType.trim, cookie: 4, offset: 1, length: 9000 }),
  requestBytes({ type: CommandType.blockStatus, cookie: 5, offset: 0, length: 2 ** 20, flags: 8 }),
  requestBytes({ type: CommandType.flush, cookie: 6 }),
  requestBytes({ type: CommandType.disconnect, cookie: 7 }),
]);

/** Plain copies, so that events of different splits compare by their bytes. */
function decode(chunks: readonly Uint8Array[]): unknown[] {
  const session = new NbdServerSession({ exports });
  const events: unknown[] = [];
  for (const chunk of [new Uint8Array(0), ...chunks]) {
    session.feed(chunk);
    for (let event = session.next(); event !== undefined; event = session.next()) events.push(plain(event));
  }
  return events;
}
const plain = (event: NbdServerEvent): unknown => {
  if (event.kind === 'send') return { ...event, bytes: [...event.bytes] };
  return event.kind === 'request' ? { ...event, payload: [...event.payload] } : event;
};
const WHOLE = decode([DIALOGUE]);

describe('the NBD byte stream', () => {
  it('is a whole dialogue', () => {
    expect(WHOLE.filter((event) => (event as NbdServerEvent).kind === 'request')).toHaveLength(5);
    expect(WHOLE.at(-1)).toEqual({ kind: 'disconnect' });
  });

  it('decodes alike at every single split point, and byte by byte', () => {
    const whole = JSON.stringify(WHOLE);
    const wrong: number[] = [];
    for (let cut = 0; cut <= DIALOGUE.length; cut += 1) {
      if (JSON.stringify(decode([DIALOGUE.subarray(0, cut), DIALOGUE.subarray(cut)])) !== whole) wrong.push(cut);
    }
    expect(wrong).toEqual([]);
    expect(decode([...DIALOGUE].map((byte) => new Uint8Array([byte])))).toEqual(WHOLE);
  });

  it('decodes alike when the chunks are used again after a detach', () => {
    for (let cut = 0; cut <= DIALOGUE.length; cut += 1) {
      const session = new NbdServerSession({ exports });
      const events: unknown[] = [];
      for (const part of [new Uint8Array(0), DIALOGUE.slice(0, cut), DIALOGUE.slice(cut)]) {
        session.feed(part);
        for (let event = session.next(); event !== undefined; event = session.next()) events.push(plain(event));
        session.detach();
        part.fill(0xee);
      }
      expect(events).toEqual(WHOLE);
    }
  });

  it('decodes alike in any chunks', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 60 }), (sizes) => {
      const chunks: Uint8Array[] = [];
      let at = 0;
      for (const size of sizes) {
        chunks.push(DIALOGUE.subarray(at, at + size));
        at = Math.min(DIALOGUE.length, at + size);
      }
      chunks.push(DIALOGUE.subarray(at));
      expect(decode(chunks)).toEqual(WHOLE);
    }));
  });

  it('decodes alike when payloads are read straight into their place', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 60 }), (sizes) => {
      const session = new NbdServerSession({ exports });
      const events: unknown[] = [];
      for (let at = 0, i = 0; at < DIALOGUE.length; i += 1) {
        for (let event = session.next(); event !== undefined; event = session.next()) events.push(plain(event));
        const rest = session.payloadRest;
        const bytes = DIALOGUE.subarray(at, at + Math.min(sizes[i % sizes.length] ?? 1, rest?.length ?? Infinity));
        if (rest === undefined) session.feed(bytes);
        else {
          rest.set(bytes);
          session.payloadArrived(bytes.length);
        }
        at += bytes.length;
      }
      for (let event = session.next(); event !== undefined; event = session.next()) events.push(plain(event));
      expect(events).toEqual(WHOLE);
    }));
  });

  it('never throws anything but ProtocolError, whatever arrives', () => {
    const begin = fc.constantFrom(new Uint8Array(0), clientFlags(), joined([clientFlags(), structuredReplyOption()]), usualHandshake('disk'));
    fc.assert(fc.property(begin, fc.uint8Array({ maxLength: 400 }), (first, rest) => {
      try {
        decode([first, rest]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }), { numRuns: 500 });
  });

  it('survives any single wrong byte in a right dialogue', () => {
    fc.assert(fc.property(fc.nat(DIALOGUE.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = DIALOGUE.slice();
      bytes[at] = (bytes[at] ?? 0) ^ flip;
      try {
        decode([bytes]);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }), { numRuns: 1000 });
  });
});
