import { describe, expect, it } from '@jest/globals';
import { isVbaStatus } from '../vba/status-shape.js';
import type { VbaStatusV1 } from '../vba/messages.js';
import type { VraStatusV1 } from './status.js';
import { isVraStatus } from './status-shape.js';

const ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const identity = { notBeforeMs: 1, notAfterMs: 2, signedBy: 'AA:BB', trusts: ['AA:BB'] };
const STATUS: VraStatusV1 = {
  vraId: '7', hostId: 'host-1', version: '0.1.0', address: '127.0.0.1', startedAtMs: 1, identity, revision: -1, attachedVmIds: ['vm'],
  unreachableDisks: [{ vmId: 'vm', diskId: 'd', path: 'nbd://h:10809/d', sinceMs: 1, reason: 'gone' }],
  protections: [{
    vpgId: ID, vmId: 'vm', epoch: 1, state: 'deltaSync', isFenced: false, detail: '', loss: { count: 1, atMs: 1, detail: 'lost' }, lagBytes: 0, writtenBytes: 1, writeCount: 1, sentBytes: 1, bytesPerSecond: 1, writesPerSecond: 0,
    sync: { kind: 'deltaSync', reason: 'asked for', totalBytes: 1, remainingBytes: 1, unverifiedBytes: 0, bytesPerSecond: 1, estimatedMs: null },
  }],
  recoveries: [{
    vpgId: ID, vmId: 'vm', epoch: 1, reservedEpoch: null, state: 'receiving', detail: '', durableSeq: 1, journalBytes: 1, compactedBytes: 0,
    limits: { journalHardBytes: null, journalWarningBytes: 1, scratchHardBytes: null, scratchWarningBytes: null }, isAtHardLimit: false, scrub: { completedAtMs: null, detail: '', affectedIds: [4] },
    pins: [{ name: 'backup', checkpointId: 4, keepForMs: 1 }], mirrorBytes: 1, receivedRawBytes: 1, receivedBytes: 1, newestCheckpointId: 2, oldestCheckpointId: null, instance: ID, lastChange: 3,
  }],
  views: [{ viewId: ID, vpgId: ID, vmId: 'vm', checkpointId: 4, state: 'open', detail: '', isScratchFull: false, scratchBytes: 0, promotedBytes: 0, totalBytes: 1 }],
  barriers: [{ vpgId: ID, version: 1, leaderVraId: '7', term: 1, holdMsP50: 1, holdMsP99: 1, holdMsMax: 1, lastVoidReason: null, clockOffsetMs: 0, voidCount: 0, sealedCount: 0 }],
  datastores: [{ path: '/d', capacityBytes: 2, freeBytes: 1, guardBytes: 0 }], outbound: { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 },
  clockDoubt: { byMs: -4000, atMs: 1, endsInMs: 1 },
};
const VBA: VbaStatusV1 = { vbaId: '3', hostId: 'host-1', version: '0.1.0', address: '127.0.0.1', startedAtMs: 1, identity };

type Path = readonly (string | number)[];

/** Of every value in it, lists and objects too. */
function pathsIn(value: unknown, at: Path = []): Path[] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value).flatMap(([key, each]) => pathsIn(each, [...at, Array.isArray(value) ? Number(key) : key])) : [];
  return at.length === 0 ? inner : [at, ...inner];
}

/** A copy with another value there. */
function withValue(whole: unknown, [key, ...rest]: Path, value: unknown): unknown {
  if (key === undefined) return value;
  if (Array.isArray(whole)) return whole.map((each: unknown, index) => (index === key ? withValue(each, rest, value) : each));
  const fields = whole as Readonly<Record<string, unknown>>;
  return { ...fields, [key]: withValue(fields[key], rest, value) };
}

const CASES = [['VRA', STATUS, isVraStatus], ['VBA', VBA, isVbaStatus]] as const;

describe.each(CASES)('a heartbeat of a %s', (_name, status, isStatus) => {
  it('is taken as it is, and with fields that nobody knows yet', () => {
    expect(isStatus(JSON.parse(JSON.stringify(status)))).toBe(true);
    expect(isStatus({ ...status, more: [1] })).toBe(true);
  });

  it('is refused for every single value in it that is something else', () => {
    /** One that is absent is none. */
    const isNoLimit = (path: Path, value: unknown): boolean => path.includes('limits') && (value === undefined ? path.at(-1) !== 'limits' : JSON.stringify(value) === '{"a":1}');
    const taken = pathsIn(status).flatMap((path) => [undefined, { a: 1 }, [[]], '\0', 'x'.repeat(100_000), Array(100_000).fill(null)]
      .filter((value) => isStatus(withValue(status, path, value)) && !isNoLimit(path, value)).map((value) => `${path.join('.')}: ${JSON.stringify(value)?.slice(0, 20) ?? 'absent'}`));
    expect(taken).toEqual([]);
  });

  it.each([['nothing', null], ['a list', []], ['a text', 'status'], ['dates that are none', { ...status, identity: { ...identity, notAfterMs: 1e300 } }]])('is refused when it is %s', (_what, value) => expect(isStatus(value)).toBe(false));
});

it.each([
  ['a protection that is nothing', { protections: [null] }], ['an epoch between two', { protections: [{ ...STATUS.protections[0], epoch: 1.5 }] }], ['a VPG that can be none', { views: [{ ...STATUS.views[0], vpgId: 'x' }] }],
  ['more VMs than a host has', { attachedVmIds: Array(5001).fill('vm') }], ['a revision that cannot be counted', { revision: 1e300 }],
])('a heartbeat with %s is refused', (_what, values) => expect(isVraStatus({ ...STATUS, ...values })).toBe(false));
