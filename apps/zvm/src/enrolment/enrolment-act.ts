import type { EnrolmentV1, IdentityRequestV1 } from '@tidemark/contracts';
import { networkOf } from '@tidemark/sys/network';
import type { Act } from '../audit/act-audit.js';
import type { Appliance } from './voided-component.store.js';

/** Whoever reaches 9080 can ask: the token shows who it is, and strangers of one network have their entries together. */
export const enrolmentAct = ({ role, instanceId, hostId, natsPublicKey }: EnrolmentV1, address: string): Act => ({
  action: 'enrolment', cause: networkOf(address), user: `${role} ${instanceId}`, method: 'Appliance', subject: `${role}:${instanceId}`, isClaimed: true, address,
  entities: [`${role}:${instanceId}`, `host:${hostId}`], input: { natsPublicKey },
});

export const renewalAct = ({ role, instanceId }: Appliance, { natsPublicKey }: IdentityRequestV1): Act => ({
  action: 'identity.renewed', cause: `${role} ${instanceId}`, user: `${role} ${instanceId}`, method: 'Appliance', subject: `${role}:${instanceId}`, entities: [`${role}:${instanceId}`], input: { natsPublicKey },
});
