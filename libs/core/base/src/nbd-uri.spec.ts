import { describe, expect, it } from '@jest/globals';
import { isNbdUri, NbdUriError, parseNbdUri } from './nbd-uri.js';

describe('NBD URIs', () => {
  it.each([
    ['nbd://host/disk', { kind: 'tcp', host: 'host', port: 10_809, exportName: 'disk' }],
    ['nbd://10.0.0.1:1234/a%20b/c', { kind: 'tcp', host: '10.0.0.1', port: 1234, exportName: 'a b/c' }],
    ['nbd://[::1]:7', { kind: 'tcp', host: '::1', port: 7, exportName: '' }],
    ['nbd+unix:///disk?socket=/run/x.sock', { kind: 'unix', socketPath: '/run/x.sock', exportName: 'disk' }],
    ['nbd+unix:///?socket=%2Frun%2Fx', { kind: 'unix', socketPath: '/run/x', exportName: '' }],
  ])('%s', (text, address) => {
    expect(parseNbdUri(text)).toEqual(address);
    expect(isNbdUri(text)).toBe(true);
  });

  it.each([
    ['nbds://host/disk', 'TLS'], ['http://host/disk', 'not a scheme'], ['nbd://host:0/disk', 'not a port'], ['nbd://host:70000/d', 'not a port'], ['nbd:///disk', 'not a host'],
    ['nbd://user@host/d', 'not a host'], ['nbd+unix://host/disk?socket=/x', 'has no host'], ['nbd+unix:///disk', 'needs ?socket='], ['nbd+unix:///d?socket=relative', 'absolute'],
    ['nbd+unix:///d?socket=/a&socket=/b', 'nothing else'], [`nbd+unix:///d?socket=/${'x'.repeat(110)}`, '107'], ['nbd://h/%zz', 'percent'], ['nbd://h/%00', 'zero byte'],
    ['nbd://h/d?x=1', 'question mark'], ['/dev/sda', 'not an NBD URI'],
  ])('refuses %s and says why', (text, words) => {
    expect(() => parseNbdUri(text)).toThrow(NbdUriError);
    expect(() => parseNbdUri(text)).toThrow(words);
  });

  it('takes a path for none', () => {
    expect(isNbdUri('/var/lib/disks/a.raw')).toBe(false);
  });
});
