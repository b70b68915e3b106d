import { Injectable } from '@nestjs/common';
import { PeerLinkService } from '../peer/peer-link.service.js';
import type { VpgRecord } from '../vpg/vpg-model.js';

/** What the manager of a recovery site says by itself of who owns the VMs: its broker takes nothing of that from a VRA. */
@Injectable()
export class OwnerWords {
  constructor(private readonly link: PeerLinkService) {}

  /** Age of its last news, if they are of now and say that the record here is the newest; undefined: it is silent, or has a newer one. */
  agreedAgeMs({ definition: { vpgId, recoverySiteId }, generation }: VpgRecord): number | undefined {
    const heard = this.link.isAlive(recoverySiteId) ? this.link.lastNews(recoverySiteId) : undefined;
    return heard?.news.vpgs.some((vpg) => vpg.vpgId === vpgId && vpg.generation === generation) === true ? heard.ageMs : undefined;
  }
}
