import { clientOptions, ComponentIdentity, TrustBundle } from '@tidemark/trust';
import { request } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { LabError } from '../lab-error.js';
import { PORTS, type SiteLayout } from '../layout.js';

/** `path` of port 4006 of a VRA or VBA, asked with the certificate of the site's ZVM. Throws for any answer but a good one. */
export async function fromAppliance(site: SiteLayout, address: string, path: '/health' | '/metrics'): Promise<string> {
  const zvm = await ComponentIdentity.open(join(site.zvmFolder, 'trust', 'zvm'));
  if (!zvm) throw new LabError('LAB_REFUSED', `site ${site.name} has no certificates yet`);
  const { siteId } = zvm.name;
  const tls = clientOptions(zvm, new TrustBundle([{ siteId, caPem: zvm.current().caPem }]), { siteId, role: address === site.vbaAddress ? 'vba' : 'vra' });
  return await new Promise((resolve, reject) => {
    const call = request({ ...tls, host: address, port: PORTS.vraHealth, path, agent: false, signal: AbortSignal.timeout(2000) }, (response) => {
      const { statusCode = 0 } = response;
      text(response).then((body) => (statusCode === 200 ? resolve(body) : reject(new LabError('LAB_REFUSED', `${address}${path} answers ${statusCode}`))), reject);
    });
    call.on('error', reject);
    call.end();
  });
}
