import { describe, expect, it } from '@jest/globals';
import { judgeMove, recommendHosts, type SpreadHost, type SpreadVm } from './recovery-spread.js';

const host = (hostId: string, more: Partial<SpreadHost> = {}): SpreadHost => ({ hostId, name: hostId.toUpperCase(), datastoreIds: ['ds1', 'ds2'], hasVra: true, vmCount: 0, ...more });
const vm = (vmId: string, more: Partial<SpreadVm> = {}): SpreadVm => ({ vmId, name: vmId, hostId: 'h1', datastoreIds: ['ds1'], obstacle: '', remark: '', ...more });

describe('where the recovery of a VM may go', () => {
  it('is a host with a VRA that sees journal and volumes, and nowhere while something stands in the way', () => {
    expect(judgeMove(vm('a'), host('h2'))).toEqual({ status: 'Ok', reason: '' });
    expect(judgeMove(vm('a'), undefined)).toMatchObject({ status: 'Error', reason: expect.stringContaining('no such host') });
    expect(judgeMove(vm('a'), host('h1'))).toMatchObject({ status: 'Error', reason: expect.stringContaining('already') });
    expect(judgeMove(vm('a'), host('h2', { hasVra: false }))).toMatchObject({ status: 'Error', reason: expect.stringContaining('no VRA') });
    expect(judgeMove(vm('a', { datastoreIds: ['ds1', 'ds9'] }), host('h2'))).toMatchObject({ status: 'Error', reason: expect.stringContaining('ds9') });
    expect(judgeMove(vm('a', { obstacle: 'a test runs' }), host('h2'))).toEqual({ status: 'Error', reason: 'a test runs' });
    expect(judgeMove(vm('a', { remark: 'the other site is away' }), host('h2'))).toEqual({ status: 'Warning', reason: 'the other site is away' });
  });

  it('spreads over the hosts by what each has, counting what was given to it before', () => {
    const hosts = [host('h1', { vmCount: 4 }), host('h2', { vmCount: 1 }), host('h3', { vmCount: 2 })];
    const spread = recommendHosts(['a', 'b', 'c', 'd'].map((id) => vm(id)), hosts);
    expect(spread.map((each) => each.host?.hostId)).toEqual(['h2', 'h2', 'h3', 'h2']);
  });

  it('keeps to what is fixed and counts it first; says why there is none', () => {
    const hosts = [host('h1'), host('h2'), host('h3', { vmCount: 1, datastoreIds: ['ds1'] })];
    const spread = recommendHosts([vm('a'), vm('b'), vm('c', { datastoreIds: ['ds9'] })], hosts, [{ vmId: 'b', hostId: 'h2' }]);
    expect(spread.map((each) => each.host?.hostId)).toEqual(['h2', 'h2', undefined]);
    expect(spread[2]?.reason).toContain('does not see datastore ds9');
  });
});
