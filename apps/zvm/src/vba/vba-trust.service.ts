import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { fingerprint } from '@tidemark/trust';
import { Background } from '../background.js';
import { messageOf } from '../errors.js';
import { SiteTrust } from '../trust/site-trust.js';
import { VbaLinkService } from './vba-link.service.js';
import { VbaStore } from './vba.store.js';

/**
 * Keeps what VBAs believe at the site's CA certificates of today: a VRA hears of them by its desired state, a VBA by a renewal. So a rotation's next CA is believed before it
 * signs, and one that was retired is believed no longer.
 */
@Injectable()
export class VbaTrust implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #log = new Logger(VbaTrust.name);
  readonly #loop = new Background('vba-trust', 2000, () => this.#look());

  constructor(
    private readonly vbas: VbaStore,
    private readonly link: VbaLinkService,
    private readonly trust: SiteTrust,
  ) {}

  onApplicationBootstrap(): void {
    this.#loop.start();
  }

  async #look(): Promise<void> {
    const wanted = new Set(this.trust.ca.trustedPem.map((pem) => fingerprint(pem)));
    for (const { vbaId, name } of this.vbas.all()) {
      const trusts = this.link.isAlive(vbaId) ? this.link.lastStatus(vbaId)?.identity.trusts : undefined;
      if (!trusts || (trusts.length === wanted.size && trusts.every((one) => wanted.has(one)))) continue;
      await this.link.renewIdentity(vbaId).catch((error: unknown) => this.#log.warn(`VBA '${name}' cannot be told of the site's CA: ${messageOf(error)}`));
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}
