import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeRequest } from '../certificate-request.js';
import { ComponentIdentity } from '../component-identity.js';
import type { Role } from '../component-name.js';
import { SiteCa } from '../site-ca.js';

/** For specs: a site with a CA, and components of it. */
export class TestingSite {
  private constructor(
    readonly folder: string,
    readonly siteId: string,
    readonly ca: SiteCa,
  ) {}

  static async make(siteId: string, nowMs: () => number = Date.now): Promise<TestingSite> {
    const folder = await mkdtemp(join(tmpdir(), 'trust-'));
    return new TestingSite(folder, siteId, await SiteCa.openOrMake(join(folder, 'ca'), { siteId, siteName: `site ${siteId}` }, nowMs));
  }

  async component(role: Role, instanceId: string, options: { hosts?: string[]; lifetimeMs?: number } = {}): Promise<ComponentIdentity> {
    const request = await makeRequest();
    const issued = await this.ca.issue(request.pem, { siteId: this.siteId, role, instanceId }, options.hosts ?? [], options.lifetimeMs);
    return await ComponentIdentity.store(join(this.folder, `${role}-${instanceId}`), { keyPem: request.keyPem, certificatePem: issued.certificatePem, caPem: this.ca.trustedPem });
  }
}
