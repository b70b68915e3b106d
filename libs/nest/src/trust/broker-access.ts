import type { ConnectionOptions } from 'node:tls';
import { type ComponentIdentity, TrustBundle } from '@tidemark/trust';
import type { BusAccess } from '../bus/bus-access.js';

/** Believes the broker of one site and no other: a certificate of that site's CA that names it as `nats`. */
export function brokerTls(siteId: string, caPem: readonly string[]): ConnectionOptions {
  const bundle = new TrustBundle([{ siteId, caPem }]);
  return {
    ca: bundle.caPem,
    checkServerIdentity: (_host, certificate) => {
      try {
        bundle.verify(certificate, Date.now(), { siteId, role: 'nats' });
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  };
}

/** A component at its own site's broker. */
export function ownBrokerAccess(identity: ComponentIdentity, inboxName: string): BusAccess {
  return {
    inboxName,
    credentials: () => {
      const { natsCredentials } = identity.current();
      if (natsCredentials === undefined) throw new Error(`${identity.folder} holds no NATS user: enrol this component again`);
      return natsCredentials;
    },
    tls: () => brokerTls(identity.name.siteId, identity.current().caPem),
    onChange: (listener) => {
      identity.onChange(listener);
    },
  };
}
