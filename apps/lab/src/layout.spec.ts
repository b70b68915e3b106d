import { describe, expect, it } from '@jest/globals';
import { labLayout, parseSubnets } from './layout.js';

describe('the layout of a lab', () => {
  it('gives each site its addresses, hosts and short socket paths', () => {
    const { sites } = labLayout('/var/tmp/tidemark-lab', parseSubnets('1,2'));
    expect([sites.a.managerAddress, sites.a.hypervisorAddress, ...sites.a.hosts.map((host) => host.address)]).toEqual(['127.0.1.1', '127.0.1.2', '127.0.1.11', '127.0.1.12']);
    expect(sites.b.hosts.map((host) => [host.name, host.address, host.nbdSocketPath, host.vraName])).toEqual([
      ['host-b1', '127.0.2.11', '/var/tmp/tidemark-lab/b/h1/nbd.sock', 'vra1'],
      ['host-b2', '127.0.2.12', '/var/tmp/tidemark-lab/b/h2/nbd.sock', 'vra2'],
    ]);
    expect(sites.b.restUrl).toBe('https://127.0.2.1:9669');
  });

  it('refuses a folder whose sockets would have too long names', () => {
    expect(() => labLayout(`/tmp/${'x'.repeat(90)}`, { a: 1, b: 2 })).toThrow(/TIDEMARK_LAB_DIR/);
  });

  it.each(['', '1', '1,1', '0,2', '1,255', '1,2,3', 'a,b'])("refuses TIDEMARK_LAB_SUBNETS='%s'", (text) => {
    expect(() => parseSubnets(text)).toThrow(/two different numbers/);
  });
});
