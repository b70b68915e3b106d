import { describe, expect, it } from '@jest/globals';
import { natsConfiguration } from './nats-configuration.js';

const text = natsConfiguration({ serverName: 'North', host: '10.0.0.1', port: 4222, peerHost: '10.0.0.1', peerPort: 9081, certificatePath: '/c.pem', keyPath: '/k.pem', authority: '' });
const [own = '', peers = ''] = text.split('websocket {');

/** As docs/security.md says of 4222 and 9081. */
describe('the broker of a site', () => {
  it.each(['max_payload: 4MB', 'max_pending: 32MB', 'max_connections: 4096', 'write_deadline: "5s"', 'ping_interval: "10s"', 'ping_max: 3', 'timeout: 5', 'authorization { timeout: 5 }'])('has the limit %s', (line) => {
    expect(own).toContain(line);
  });

  it('lets peers in over the websocket with TLS, a time for the handshake and the log-in, and no compression', () => {
    for (const line of ['handshake_timeout: "5s"', 'authorization { timeout: 5 }', 'compression: false', 'cert_file: "/c.pem"']) expect(peers).toContain(line);
    expect(text).not.toMatch(/no_tls|allow_non_tls|leafnodes|mqtt|jetstream|no_auth_user/);
  });

  it('speaks TLS 1.3 alone, on both', () => {
    for (const part of [own, peers]) expect(part).toMatch(/cipher_suites: \["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"\]/);
  });
});
