import { type ComponentIdentity, serverOptions, TrustBundle, type TrustedSite, verifyPeer } from '@tidemark/trust';
import type { TLSSocket, TlsOptions } from 'node:tls';

/** The own site, by what came with the identity; `sites`: what is known besides of appliances that it has taken back. */
function ownBundle(identity: ComponentIdentity, sites: readonly TrustedSite[] = []): TrustBundle {
  const { siteId } = identity.name;
  return new TrustBundle([{ siteId, caPem: identity.current().caPem, voided: sites.find((site) => site.siteId === siteId)?.voided ?? [] }]);
}

/** Port 4006: probes come without a certificate, so it is asked for, not demanded; {@link assertOwnSite} stands before everything but health. */
export const healthTls = (identity: ComponentIdentity): TlsOptions => ({ ...serverOptions(identity, ownBundle(identity)), rejectUnauthorized: false });

/** Throws TrustError unless the caller is a component of the appliance's own site that was not taken back. */
export function assertOwnSite(socket: TLSSocket, identity: ComponentIdentity, sites: readonly TrustedSite[]): void {
  const { siteId } = identity.name;
  verifyPeer(socket, ownBundle(identity, sites), Date.now(), { siteId });
}
