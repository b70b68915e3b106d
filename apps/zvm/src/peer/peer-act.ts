import type { PairingRedeemV1 } from '@tidemark/contracts';
import type { Act } from '../audit/act-audit.js';
import { namedBySite, redactedInput } from '../audit/redaction.js';

/** A request of a paired site as the audit shows it: of a VPG's whole record what tells it from another one. */
export function peerAct(topic: string, { siteId, name, message }: { readonly siteId: string; readonly name: string | undefined; readonly message: object }): Act {
  const { record, ...rest } = message as { readonly record?: RecordShape; readonly vpgId?: string | null; readonly initiatedBy?: string };
  const vpgId = record?.definition.vpgId ?? rest.vpgId;
  const brief = record && { name: record.definition.name, state: record.state, generation: record.generation, epoch: record.epoch };
  const site = name ?? siteId;
  return {
    action: `peer ${topic}`, cause: siteId, method: 'Peer', subject: siteId, user: rest.initiatedBy === undefined ? `site ${site}` : namedBySite(site, rest.initiatedBy),
    entities: [`site:${siteId}`, ...(typeof vpgId === 'string' ? [`vpg:${vpgId.toLowerCase()}`] : [])], input: redactedInput(brief ? { ...rest, record: brief } : rest),
  };
}

interface RecordShape {
  readonly definition: { readonly vpgId: string; readonly name: string };
  readonly state: string;
  readonly generation: number;
  readonly epoch: number;
}

/** Who shows a token says which site it is. */
export const redemptionAct = (tokenId: string, { site, natsPublicKey }: PairingRedeemV1): Act => ({
  action: 'peer pairing.redeem', cause: tokenId, method: 'Peer', subject: site.siteId.toLowerCase(), isClaimed: true, user: `site ${site.name}`, entities: [`site:${site.siteId.toLowerCase()}`, `token:${tokenId}`], input: redactedInput({ site, natsPublicKey }),
});
