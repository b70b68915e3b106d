import { Injectable } from '@nestjs/common';
import { fingerprint, readCertificates } from '@tidemark/trust';
import { VraLinkService } from './vra-link.service.js';
import type { VraRecord } from './vra-model.js';
import { VraStore } from './vra.store.js';

/** Which VRAs of this site believe a CA: by their own heartbeats, so nobody is counted who was only told. */
@Injectable()
export class VraBeliefs {
  constructor(
    private readonly vras: VraStore,
    private readonly link: VraLinkService,
  ) {}

  /**
   * VRAs that do not believe all of `caPem` yet, or are not heard of.
   * @throws ZvmError ZVM_DATABASE_DOWN while it is not known which VRAs there are
   */
  missing(caPem: readonly string[]): VraRecord[] {
    this.vras.assertLoaded();
    const wanted = caPem.flatMap((pem) => readCertificates(pem, 'the CA')).map(({ pem }) => fingerprint(pem));
    return this.vras.all().filter(({ vraId }) => !wanted.every((print) => this.link.status(vraId)?.identity.trusts.includes(print)));
  }
}
