import type { ResourceLink } from '@tidemark/contracts';
import { EMPTY_ZORG_ID } from '@tidemark/contracts';

/** Links are relative to nothing a proxy could change: path only would break clients, so the site's own base comes first. */
export class Links {
  constructor(private readonly base: string) {}

  of(path: string, type: string, identifier: string): ResourceLink {
    return { identifier, href: `${this.base}/v1/${path}`, rel: null, type };
  }

  vpg(id: string): ResourceLink {
    return this.of(`vpgs/${id}`, 'VpgApi', id);
  }

  task(id: string): ResourceLink {
    return this.of(`tasks/${id}`, 'TaskApi', id);
  }

  host(siteId: string, id: string): ResourceLink {
    return this.of(`virtualizationsites/${siteId}/hosts/${id}`, 'HostNativeApi', id);
  }

  /** Own site and peer sites are different resources. */
  site(siteId: string, ownSiteId: string): ResourceLink {
    return siteId === ownSiteId ? this.of('localsite', 'LocalSiteApi', siteId) : this.of(`peersites/${siteId}`, 'PeerSiteApi', siteId);
  }

  zorg(): ResourceLink {
    return this.of(`zorgs/${EMPTY_ZORG_ID}`, 'ZorgApi', EMPTY_ZORG_ID);
  }
}

/** Paths match in any letter case, and so do the ids in them. */
export const isSameId = (known: string | null, given: string): boolean => known?.toLowerCase() === given.toLowerCase();
