import { openNbdVolume } from '@tidemark/nbd-client';
import { clientOptions, type ComponentIdentity, TrustBundle } from '@tidemark/trust';
import type { Volume } from '@tidemark/volume';
import type { VerificationVolumeV1 } from '@tidemark/contracts';

const isIpV6 = (address: string): boolean => address.includes(':');

/** Opens an export of a VRA on 9180: TLS with the own certificate, and only if that very VRA of the own site answers. The certificate shown is that of the moment. */
export const openFromVra = (identity: ComponentIdentity) => async ({ vraId, address, port, exportName, sizeBytes }: VerificationVolumeV1): Promise<Volume> => {
  const { siteId } = identity.name;
  const host = isIpV6(address) ? `[${address}]` : address;
  return await openNbdVolume({
    uri: `nbd://${host}:${String(port)}/${encodeURIComponent(exportName)}`, sizeBytes, isReadOnly: true,
    tls: () => clientOptions(identity, new TrustBundle([{ siteId, caPem: identity.current().caPem }]), { siteId, role: 'vra', instanceId: vraId }),
  });
};
