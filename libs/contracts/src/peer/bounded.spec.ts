import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { isBounded } from './bounded.js';
import { VpgActV1 } from './messages.js';
import { FailoverRecordV1 } from './vpg-record.js';

const nested = (depth: number): unknown => (depth === 0 ? 'x' : { in: nested(depth - 1) });
const fields = (count: number): object => Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, 1]));

describe('what a peer leaves to be looked at later', () => {
  it.each([['nothing', {}], ['16 levels', nested(16)], ['a text of 4096', { t: 'x'.repeat(4096) }], ['a list of 1000', { l: Array(1000).fill(1) }], ['100 fields', fields(100)], ['nulls', { a: null, b: [null] }]])('may be %s', (_what, value) =>
    expect(isBounded(value)).toBe(true));

  it.each([
    ['17 levels', nested(17)], ['a longer text', { t: 'x'.repeat(4097) }], ['a longer list', { l: Array(1001).fill(1) }], ['more fields', fields(101)], ['a name of a megabyte', { ['x'.repeat(1e6)]: 1 }],
    ['lists of lists', { l: Array(1000).fill(Array(1000).fill(1)) }],
  ])('may not be %s', (_what, value) => expect(isBounded(value)).toBe(false));

  it('is looked at in the messages that carry it', () => {
    const act = { taskId: 't', action: 'create', initiatedBy: 'x', vpgId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', input: { settings: { basic: {}, vms: [] } } };
    const faultsOf = (message: object): string[] => validateSync(plainToInstance(VpgActV1, message)).map(({ property }) => property);
    expect(faultsOf(act)).toEqual([]);
    expect(faultsOf({ ...act, input: { settings: nested(16) } })).toEqual(['input']);
    expect(faultsOf({ ...act, vpgId: null })).toEqual(['vpgId']);
  });

  it('has no more VMs in a failover than a VPG has', () => {
    const failover = {
      taskId: 't', phase: 'starting', checkpointId: 1, checkpointAtMs: 1, reservedEpoch: 2, commitPolicy: 'None', waitMs: 0, decideAtMs: null, shutdownPolicy: 'None', shutDownVmIds: ['vm'], vms: [], settled: [],
    };
    const faultsOf = (part: object): string[] => validateSync(plainToInstance(FailoverRecordV1, { ...failover, ...part })).map(({ property }) => property);
    const recovered = { vmId: 'vm', viewId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', name: 'web', recoveredVmId: null };
    expect(faultsOf({ vms: Array(512).fill(recovered) })).toEqual([]);
    expect(faultsOf({ vms: Array(513).fill(recovered) })).toEqual(['vms']);
    expect(faultsOf({ shutDownVmIds: Array(513).fill('vm') })).toEqual(['shutDownVmIds']);
    expect(faultsOf({ shutDownVmIds: ['x'.repeat(201)] })).toEqual(['shutDownVmIds']);
    expect(faultsOf({ settled: Array(513).fill({ vmId: 'vm', fingerprints: [] }) })).toEqual(['settled']);
  });
});
