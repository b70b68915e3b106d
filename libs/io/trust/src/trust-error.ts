import { TidemarkError } from '@tidemark/base';

export type TrustErrorCode =
  | 'TRUST_FILE' // a file of the trust folder is missing, torn, or open to others
  | 'TRUST_CERTIFICATE' // this is not the certificate, CA or key that was expected
  | 'TRUST_REQUEST' // a certificate request, or what is asked with it, cannot be signed
  | 'TRUST_TOKEN' // this is not a token, or not one for this
  | 'TRUST_EXPIRED' // a certificate or token whose time is over
  | 'TRUST_NOT_YET_VALID' // a certificate that begins later than now: one of the two clocks is wrong
  | 'TRUST_UNKNOWN'; // a peer without a certificate of a site that is trusted, or not the one that was expected

/** Who is not believed, or which of our own keys cannot be used, and what to do about it. Trying again without a change helps nobody. */
export class TrustError extends TidemarkError<TrustErrorCode> {
  get isRetryable(): boolean {
    return false;
  }
}
