import { assert } from '@tidemark/base';
import { IDENTITY_GRANT, type IdentityRequestV1, renewalTopic, subjectOf, ZVM_INSTANCE } from '@tidemark/contracts';
import { type ComponentIdentity, grantedParts, makeNatsKey, makeRequest } from '@tidemark/trust';
import type { ControlBus } from '../bus/control-bus.js';

const TIMEOUT_MS = 15_000;

/** The next certificate and NATS user of a VRA or VBA, over the connection that its present ones opened. Throws ControlError, and TrustError for an answer that would shut it out: what it has stays. */
export async function renewIdentity(bus: ControlBus, identity: ComponentIdentity): Promise<void> {
  const { siteId, role, instanceId } = identity.name;
  assert(role === 'vra' || role === 'vba', `a ${role} does not renew itself`);
  const { pem, keyPem } = await makeRequest();
  const natsKey = makeNatsKey();
  const subject = subjectOf({ siteId, service: 'zvm', instanceId: ZVM_INSTANCE, channel: 'control', topic: renewalTopic(role, instanceId) });
  const asked: IdentityRequestV1 = { certificateRequest: pem, natsPublicKey: natsKey.publicKey };
  const grant = await bus.request(subject, asked, IDENTITY_GRANT, { timeoutMs: TIMEOUT_MS });
  await identity.replace(grantedParts(grant, { name: identity.name, keyPem, natsKey }));
}
