import { ComponentIdentity } from './component-identity.js';
import type { ComponentName } from './component-name.js';

const RETRY_MS = 3000;

export interface OwnIdentityOptions {
  readonly name: ComponentName;
  readonly folder: string;
  /** Where whoever installs this appliance puts its token. */
  readonly tokenFile: string;
  /** Redeems the token, if there is one. Called only until the first one was: what it loads is loaded once in the life of an appliance. */
  readonly redeem: () => Promise<ComponentIdentity | undefined>;
  readonly log: { info(text: string): void; warn(text: string): void; error(text: string): void };
}

/**
 * Who this VRA or VBA is. One that was enrolled once knows it from its own disk and waits for nobody, even when its certificate has expired: a VRA's guests want their
 * disks. A new one has nothing to serve yet; it waits until its token is redeemed.
 */
export async function openApplianceIdentity({ name, folder, tokenFile, redeem, log }: OwnIdentityOptions): Promise<ComponentIdentity> {
  const kept = await ComponentIdentity.open(folder);
  if (kept) return assertOwn(kept, name);
  const what = `this ${name.role.toUpperCase()}`;
  let last = '';
  for (;;) {
    try {
      const identity = await redeem();
      if (identity) {
        log.info(`${what} is enrolled; its identity is in ${folder}`);
        return identity;
      }
      if (last === '') log.warn(`${what} has no identity yet: it waits for an enrolment token in ${tokenFile}`);
      last = 'waiting';
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (text !== last) log.error(`${what} is not enrolled: ${text}`);
      last = text;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function assertOwn(identity: ComponentIdentity, { siteId, role, instanceId }: ComponentName): ComponentIdentity {
  const { name } = identity;
  if (name.siteId === siteId && name.role === role && name.instanceId === instanceId) return identity;
  const own = role.toUpperCase();
  throw new Error(`${identity.folder} holds the identity of ${name.role} ${name.instanceId} of site ${name.siteId}; this is ${own} ${instanceId} of site ${siteId}: another ${own}'s state folder?`);
}
