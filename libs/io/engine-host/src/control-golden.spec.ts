import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { encodeJson } from '@tidemark/frame';
import { decodeControlHello, type ControlHello } from './control-hello.js';
import { decodeHeldMessage, isHeldType, type HeldMessage } from './held-report.js';
import { decodeQuiesceMessage, quiesceMessage, type QuiesceMessage } from './quiesce-message.js';

const FIRST = 2 ** 24 * 8193 + 5;
const HELLO: ControlHello = { type: 'hello', vraId: 'vra-1' };
/** A kind that is new has no entry here, and does not compile. */
const HELD: { readonly [Type in HeldMessage['type']]: Extract<HeldMessage, { readonly type: Type }> } = {
  held: { type: 'held', vpgId: 'vpg', checkpointIds: [FIRST, FIRST + 1], agesMs: [90_000, 60_000], newestIds: [FIRST + 1, FIRST + 2], wantedId: FIRST + 1, pinnedId: 0 },
  heldAsk: { type: 'heldAsk', vpgId: 'vpg', fromId: FIRST, countMax: 2000, thinAfterMs: 3_600_000 },
  heldPage: {
    type: 'heldPage', vpgId: 'vpg', fromId: FIRST, isEnd: false, checkpointIds: [FIRST, FIRST + 1], atsMs: [1_763_800_000_000, 1_763_800_005_000], agesMs: [90_000, 85_000], keeps: [1, 0],
  },
  heldThin: { type: 'heldThin', vpgId: 'vpg', fromId: FIRST, checkpointIds: [FIRST + 1] },
};
const REASONS: Record<QuiesceMessage['kind'], string> = { freeze: '', frozen: '', unfrozen: 'vm-1: no agent', thaw: '' };
const QUIESCE = Object.entries(REASONS).map(([kind, reason]) => quiesceMessage({ vpgId: 'vpg', requestId: '0b9d2f6e-6a58-4c57-8d0c-5a3a1b1f6f00', kind: kind as QuiesceMessage['kind'], reason }));

/** Bodies of control frames, made by an independent encoder; a change of these texts is a change of what VRAs say to each other on 4007. */
const golden = JSON.parse(readFileSync(new URL('../testdata/control-v1.json', import.meta.url), 'utf8')) as Record<string, string>;
const ALL: readonly (readonly [name: string, message: object, decode: (body: Uint8Array) => unknown])[] = [
  ['hello', HELLO, decodeControlHello],
  ...Object.values(HELD).map((message) => [message.type, message, decodeHeldMessage] as const),
  ...QUIESCE.map((message) => [`quiesce ${message.kind}`, message, decodeQuiesceMessage] as const),
];

describe('hello, held and quiesce messages of 4007', () => {
  it('are all among the golden ones, and told apart by their types', () => {
    expect(Object.keys(golden).sort()).toEqual(ALL.map(([name]) => name).sort());
    expect(Object.keys(HELD).every(isHeldType)).toBe(true);
  });

  it.each(ALL)('%s is written and read as ever', (name, message, decode) => {
    const text = golden[name] ?? '';
    expect(Buffer.from(encodeJson(message)).toString()).toBe(text);
    expect(decode(Buffer.from(text))).toEqual(message);
  });
});
