import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { type ComponentName, credentials, LEAF_LIFETIME_MS, makeNatsKey, makeRequest, NatsAuthority, SiteCa } from '@tidemark/trust';
import { type NatsUser, readUser } from './nats-probe.js';

/** What anybody can make at home: a CA that says it is the site's, certificates with every right name in them, a NATS operator with users of every right. */
export class SelfMade {
  private constructor(
    private readonly folder: string,
    private readonly ca: SiteCa,
    private readonly authority: NatsAuthority,
  ) {}

  static async make(siteId: string): Promise<SelfMade> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-forger-'));
    const site = { siteId, siteName: 'site' };
    return new SelfMade(folder, await SiteCa.openOrMake(join(folder, 'ca'), site, Date.now), await NatsAuthority.openOrMake(join(folder, 'nats'), site));
  }

  /** Key and certificate in the name of a component. */
  async tls(name: ComponentName): Promise<ConnectionOptions> {
    const request = await makeRequest();
    const { certificatePem } = await this.ca.issue(request.pem, name, ['127.0.0.1']);
    return { key: request.keyPem, cert: certificatePem };
  }

  /** A user that may do everything, if anybody believed who signed it. */
  async natsUser(listener: 'standard' | 'websocket'): Promise<NatsUser> {
    const key = makeNatsKey();
    const jwt = await this.authority.user(key.publicKey, { name: 'forged', publish: ['>'], subscribe: ['>'], listener, payloadBytesMax: -1, subscriptionsMax: -1, notAfterMs: Date.now() + LEAF_LIFETIME_MS });
    return readUser(credentials(jwt, key.seed));
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
