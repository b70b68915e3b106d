import { join } from 'node:path';
import { TlsTransport } from '@tidemark/link';
import { ComponentIdentity, makeRequest, SiteCa, type ComponentName, type TrustedSite } from '@tidemark/trust';

/** The site of test VRAs that need only one: it recovers into itself. */
export const SITE_ID = '5d4f7a52-0000-4000-8000-000000000001';

/** A site's CA, and components with certificates of it, in a folder of the test's. */
export class TestSite {
  static readonly #sites = new Map<string, Promise<TestSite>>();

  private constructor(
    readonly siteId: string,
    private readonly folder: string,
    readonly ca: SiteCa,
  ) {}

  /** The same one for the same folder and id. */
  static in(folder: string, siteId = SITE_ID): Promise<TestSite> {
    const home = join(folder, `site-${siteId}`);
    const known = TestSite.#sites.get(home);
    if (known) return known;
    const made = SiteCa.openOrMake(join(home, 'ca'), { siteId, siteName: 'test' }, () => Date.now()).then((ca) => new TestSite(siteId, home, ca));
    TestSite.#sites.set(home, made);
    return made;
  }

  get trusted(): TrustedSite {
    return { siteId: this.siteId, caPem: [...this.ca.trustedPem] };
  }

  identityFolder(instanceId: string): string {
    return join(this.folder, instanceId);
  }

  /** Opens what is there, or has a certificate made. */
  async identity(instanceId: string, { role = 'vra', lifetimeMs }: { readonly role?: ComponentName['role']; readonly lifetimeMs?: number } = {}): Promise<ComponentIdentity> {
    const folder = this.identityFolder(instanceId);
    const known = await ComponentIdentity.open(folder);
    if (known) return known;
    const { pem, keyPem } = await makeRequest();
    const { certificatePem } = await this.ca.issue(pem, { siteId: this.siteId, role, instanceId }, ['127.0.0.1'], lifetimeMs);
    return await ComponentIdentity.store(folder, { keyPem, certificatePem, caPem: [...this.ca.trustedPem] });
  }

  /** Of a VRA. */
  async transport(vraId: string): Promise<TlsTransport> {
    return new TlsTransport({ identity: await this.identity(vraId) });
  }
}
