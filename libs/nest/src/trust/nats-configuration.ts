export interface NatsServerPlace {
  /** Shown in its log. */
  readonly serverName: string;
  readonly host: string;
  /** 4222, for the site's own components. */
  readonly port: number;
  /** 9081, for paired sites. */
  readonly peerHost: string;
  readonly peerPort: number;
  /** Where it writes its process id. */
  readonly pidFile?: string | undefined;
  readonly certificatePath: string;
  readonly keyPath: string;
  /** What `NatsAuthority.serverConfiguration` says: whom the server believes. */
  readonly authority: string;
}

/**
 * nats.conf of a site. Two listeners over TLS 1.3: 4222 for the site's own components, the websocket on 9081 for paired sites. `client_advertise` names the
 * local one, and a single server tells nobody other addresses, so a peer learns nothing but 9081.
 */
export function natsConfiguration({ serverName, host, port, peerHost, peerPort, pidFile, certificatePath, keyPath, authority }: NatsServerPlace): string {
  const tls = `{
    cert_file: ${JSON.stringify(certificatePath)}
    key_file: ${JSON.stringify(keyPath)}
    # None of TLS 1.2: nats-server 2.9 has no setting for the lowest version.
    cipher_suites: ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    timeout: 5
  }`;
  return `server_name: ${JSON.stringify(serverName)}
host: ${JSON.stringify(host)}
port: ${port}
client_advertise: ${JSON.stringify(`${host}:${port}`)}
# The largest messages are lists of checkpoints and desired states, gzipped.
max_payload: 4MB
max_pending: 32MB
max_connections: 4096
max_subscriptions: 1024
max_control_line: 8KB
write_deadline: "5s"
ping_interval: "10s"
ping_max: 3
${pidFile === undefined ? '' : `pid_file: ${JSON.stringify(pidFile)}\n`}authorization { timeout: 5 }
tls ${tls}
websocket {
  host: ${JSON.stringify(peerHost)}
  port: ${peerPort}
  handshake_timeout: "5s"
  compression: false
  authorization { timeout: 5 }
  tls ${tls}
}
${authority}`;
}
