import { expect, it } from '@jest/globals';
import { networkOf } from './network-of.js';

it('an IPv6 network is one address, and an IPv4 address one in whatever clothes', () => {
  expect(['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::1', '2001:0db8:1:2:ffff::'].map(networkOf)).toEqual(Array(3).fill('2001:db8:1:2::/64'));
  expect([networkOf('::1'), networkOf('10.0.0.1'), networkOf('::ffff:10.0.0.1'), networkOf('')]).toEqual(['0:0:0:0::/64', '10.0.0.1', '10.0.0.1', '']);
});
