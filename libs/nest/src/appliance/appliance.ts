import type { ApplianceRole } from '@tidemark/contracts';
import type { TrustedSite } from '@tidemark/trust';

/** What every VRA and VBA knows of itself from its own settings. */
export interface Appliance {
  readonly siteId: string;
  readonly role: ApplianceRole;
  readonly instanceId: string;
  readonly hostId: string;
  /** Where 4006 listens. */
  readonly address: string;
  readonly healthPort: number;
  /** Where whoever installs it puts its one-time token. */
  readonly enrolmentTokenFile: string;
}

/** Nest injection token of {@link Appliance}. */
export const APPLIANCE = Symbol('Appliance');

/** What 4006 says of an appliance; an injection token and an interface in one. */
export abstract class HealthSource {
  /** Shown to anybody beside `status`. */
  abstract health(): Record<string, unknown>;
  /** Prometheus text, for components of the own site. */
  abstract metrics(): Promise<string>;
}

/** Whom the data plane of an appliance believes, durably and in force; an injection token and an interface in one. Empty for one that has none, or was not told yet. */
export abstract class BelievedSites {
  abstract get trustedSites(): readonly TrustedSite[];
}
