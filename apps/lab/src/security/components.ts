import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ComponentName, ComponentIdentity, makeRequest, SiteCa, type TrustedSite } from '@tidemark/trust';
import { LabError } from '../lab-error.js';
import type { SiteLayout } from '../layout.js';
import { type NatsUser, readUser } from './nats-probe.js';

/** Keys as they lie in a site's folders: what somebody has who has taken over that component. */

export async function vraIdentity(site: SiteLayout, host: number): Promise<ComponentIdentity> {
  const folder = join(site.hosts[host]?.folder ?? '', 'vra', 'trust');
  return await openIdentity(folder);
}

export const vbaIdentity = (site: SiteLayout): Promise<ComponentIdentity> => openIdentity(join(site.vbaFolder, 'trust'));

export const zvmIdentity = (site: SiteLayout): Promise<ComponentIdentity> => openIdentity(join(site.zvmFolder, 'trust', 'zvm'));

async function openIdentity(folder: string): Promise<ComponentIdentity> {
  const identity = await ComponentIdentity.open(folder);
  if (!identity) throw new LabError('LAB_REFUSED', `${folder} holds no identity: this component was never enrolled`);
  return identity;
}

export function natsUserOf(identity: ComponentIdentity): NatsUser {
  const { natsCredentials } = identity.current();
  if (natsCredentials === undefined) throw new LabError('LAB_REFUSED', `${identity.folder} holds no NATS user`);
  return readUser(natsCredentials);
}

/** The user that a site has at the broker of a peer. */
export async function peerUser(site: SiteLayout, peerSiteId: string): Promise<NatsUser> {
  return readUser(await readFile(join(site.zvmFolder, 'trust', 'peers', peerSiteId, 'current', 'nats.creds'), 'utf8'));
}

/** Whom a site's components believe as that site. */
export async function trustedSite(site: SiteLayout, siteId: string): Promise<TrustedSite> {
  return { siteId, caPem: [await readFile(join(site.zvmFolder, 'trust', 'ca.pem'), 'utf8')] };
}

/** A certificate that a site's own CA signs for a component that there is not: what a site can do that wants to. */
export async function mintIdentity(site: SiteLayout, name: ComponentName): Promise<ComponentIdentity> {
  const ca = await SiteCa.openOrMake(join(site.zvmFolder, 'trust', 'ca'), { siteId: name.siteId, siteName: `site-${site.name}` }, Date.now);
  const { pem, keyPem } = await makeRequest();
  const { certificatePem } = await ca.issue(pem, name, ['127.0.0.1']);
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-minted-'));
  try {
    return await ComponentIdentity.store(join(folder, 'trust'), { keyPem, certificatePem, caPem: ca.trustedPem });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
