import { IsIn, IsString, Length, Matches } from 'class-validator';

/** Components that are enrolled with a token. */
export const APPLIANCE_ROLES = ['vra', 'vba'] as const;
export type ApplianceRole = (typeof APPLIANCE_ROLES)[number];

/** Public key of a NATS user: base32, type U, CRC (nkeys). */
export const NATS_USER_KEY = /^U[A-Z2-7]{55}$/;
const CERTIFICATE_REQUEST = /^-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*$/;

/** What a component asks its site for: it makes its keys itself, only what is public travels. */
export class IdentityRequestV1 {
  /** PKCS#10, PEM. Its name counts for nothing: the ZVM knows who asks. */
  @IsString() @Length(1, 8192) @Matches(CERTIFICATE_REQUEST) certificateRequest!: string;
  @IsString() @Matches(NATS_USER_KEY) natsPublicKey!: string;
}

/** Body of `POST /internal/v1/enrol` on 9080. A second request with the same token is answered only if it carries the same keys. */
export class EnrolmentV1 extends IdentityRequestV1 {
  @IsString() @Length(1, 32_768) token!: string;
  @IsIn(APPLIANCE_ROLES) role!: ApplianceRole;
  @IsString() @Length(1, 64) instanceId!: string;
  @IsString() @Length(1, 200) hostId!: string;
}

/** Answer to both, and to `control trust.renew.<role>.<instanceId>`. */
export interface IdentityGrantV1 {
  /** Leaf first, then its CA. */
  readonly certificatePem: string;
  /** CA certificates of the site, newest first. */
  readonly caPem: readonly string[];
  readonly natsJwt: string;
}
