import { isIPv6 } from 'node:net';

const IPV4_IN_IPV6 = '::ffff:';

/** What one party has of the address space: an IPv4 address, or the /64 that every IPv6 customer gets at least. */
export function networkOf(address: string): string {
  if (address.toLowerCase().startsWith(IPV4_IN_IPV6) && address.includes('.')) return address.slice(IPV4_IN_IPV6.length);
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const whole = tail === undefined ? groups : [...groups, ...Array<string>(Math.max(0, 8 - groups.length - after.length)).fill('0'), ...after];
  return `${whole.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`;
}
