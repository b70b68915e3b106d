import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ProtocolError, utf8Bytes, utf8Text } from '@tidemark/base';
import { decodeControlMessage, encodeControlMessage, type ControlMessage } from './index.js';

const id = fc.string({ minLength: 1, maxLength: 50 });
const count = fc.integer({ min: 1, max: 1e6 });
const barrierBase = { type: fc.constant('barrier' as const), vpgId: id, version: count.map((n) => n % 1000 + 1), epoch: count, term: count };
const retirementBase = { type: fc.constant('retirement' as const), vpgId: id, epoch: count, checkpointId: count };
const one = <T>(value: T) => fc.constant(value);

const message: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({ ...barrierBase, kind: one('hello' as const), leaderVraId: fc.option(id), isLeading: fc.boolean() }),
  fc.record({ ...barrierBase, kind: fc.constantFrom('claim' as const, 'follows' as const, 'beat' as const) }),
  fc.record({
    ...barrierBase, kind: one('mark' as const), checkpointId: count, atMs: fc.double({ min: 0, max: 8e15, noNaN: true }),
    elapsedMs: fc.double({ min: 0, max: 1000, noNaN: true }), tag: fc.option(id), checkpointKind: fc.constantFrom('automatic' as const, 'tagged' as const, 'applicationConsistent' as const),
    vmIds: fc.uniqueArray(id, { maxLength: 5 }),
  }),
  fc.record({ ...barrierBase, kind: fc.constantFrom('marked' as const, 'release' as const), checkpointId: count }),
  fc.record({ ...barrierBase, kind: fc.constantFrom('unmarked' as const, 'void' as const), checkpointId: count, reason: fc.string() }),
  fc.record({ ...barrierBase, kind: one('outcome' as const), checkpointId: count, isSealed: fc.boolean(), reason: fc.string() }),
  fc.record({ ...barrierBase, kind: one('refused' as const), leaderVraId: fc.string({ maxLength: 50 }) }),
  fc.record({ ...retirementBase, kind: fc.constantFrom('ask' as const, 'free' as const, 'retire' as const, 'retired' as const, 'withdraw' as const, 'allow' as const) }),
  fc.record({ ...retirementBase, kind: one('refused' as const), reason: fc.string() }),
);

const refuses = (value: unknown): void => expect(() => decodeControlMessage(utf8Bytes(JSON.stringify(value)))).toThrow(ProtocolError);
/** -0 travels as 0. */
const plain = (value: ControlMessage): unknown => JSON.parse(JSON.stringify(value));

describe('control messages', () => {
  it('come back as they were sent', () => {
    fc.assert(fc.property(message, (sent) => expect(decodeControlMessage(encodeControlMessage(sent))).toEqual(plain(sent))));
  });

  it('are refused with ProtocolError when a field is missing, of another type, or not known', () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.constantFrom<unknown>(undefined, [], {}, -1, 1e300), (sent, index, wrong) => {
        const entries = Object.entries(sent);
        const [name, right] = entries[index % entries.length] ?? ['', undefined];
        // A list without VMs is a message that one may send.
        fc.pre(!(Array.isArray(right) && Array.isArray(wrong)));
        refuses({ ...sent, [name]: wrong });
        refuses({ ...sent, other: 1 });
      }),
    );
  });

  it('are refused with ProtocolError, and nothing else, for any damage of the bytes', () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (sent, at, flip) => {
        const bytes = encodeControlMessage(sent).slice();
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        try {
          decodeControlMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });

  it('carry reasons of any length, cut to what the peer takes', () => {
    const sent: ControlMessage = { type: 'retirement', vpgId: 'v', epoch: 1, checkpointId: 1, kind: 'refused', reason: 'x'.repeat(5000) };
    expect(utf8Text(encodeControlMessage(sent)).length).toBeLessThan(1200);
    expect(decodeControlMessage(encodeControlMessage(sent))).toMatchObject({ reason: 'x'.repeat(1000) });
  });
});
