import { type ComponentIdentity, serverOptions, TrustBundle, verifyPeer } from '@tidemark/trust';
import type { TLSSocket, TlsOptions } from 'node:tls';

const ownBundle = (identity: ComponentIdentity): TrustBundle => new TrustBundle([{ siteId: identity.name.siteId, caPem: identity.current().caPem }]);

/** Port 4006: probes come without a certificate, so it is asked for, not demanded; {@link assertOwnSite} stands before everything but health. */
export const healthTls = (identity: ComponentIdentity): TlsOptions => ({ ...serverOptions(identity, ownBundle(identity)), rejectUnauthorized: false });

/** Throws TrustError unless the caller is a component of the appliance's own site. */
export function assertOwnSite(socket: TLSSocket, identity: ComponentIdentity): void {
  const { siteId } = identity.name;
  verifyPeer(socket, ownBundle(identity), Date.now(), { siteId });
}
