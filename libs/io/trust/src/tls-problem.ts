import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { timeText } from './time-text.js';

const UNKNOWN_CA = 'is not of a CA that is trusted here';
/** OpenSSL's verdicts, as Node names them. */
const VERDICTS: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_CA, UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_CA, UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_CA, SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_CA,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_CA, CERT_SIGNATURE_FAILURE: UNKNOWN_CA, ERR_TLS_CERT_ALTNAME_INVALID: 'names another address than the one that was asked for',
  CERT_HAS_EXPIRED: 'has ended', CERT_NOT_YET_VALID: 'has not begun',
};

interface Circumstances {
  readonly nowMs: number;
  /** The certificate that was refused, if it was seen. */
  readonly peer?: X509Certificate | undefined;
}

/**
 * Why a TLS connection failed, for people: `its certificate ended at …; this machine's clock says …`. Undefined: for another reason than the server's certificate.
 */
export function tlsProblem(error: unknown, { nowMs, peer }: Circumstances): string | undefined {
  const code = codeOf(error);
  const verdict = code === undefined ? undefined : VERDICTS[code];
  if (verdict === undefined) return undefined;
  const now = `this machine's clock says ${timeText(nowMs)}: renew the certificate, or mend the clock that is wrong`;
  if (code === 'CERT_HAS_EXPIRED') return `its certificate ${peer ? `ended at ${timeText(peer.validToDate.getTime())}` : verdict}; ${now}`;
  if (code === 'CERT_NOT_YET_VALID') return `its certificate ${peer ? `begins at ${timeText(peer.validFromDate.getTime())}` : verdict}; ${now}`;
  return `its certificate ${peer ? `(${peer.subject.split('\n').join(', ')}, issued by ${peer.issuer.split('\n').join(', ')}) ` : ''}${verdict}`;
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  if (typeof code === 'string' && code in VERDICTS) return code;
  return cause === undefined ? undefined : codeOf(cause);
}

/** Remembers the certificate of the other side, which Node has forgotten by the time it says why it refused it. @returns what was seen so far */
export function watchPeer(socket: TLSSocket): () => X509Certificate | undefined {
  let seen: X509Certificate | undefined;
  socket.prependOnceListener('secure', () => {
    // Not getPeerX509Certificate(): after it Node's own check of the name finds no names.
    const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
    if (raw) seen = new X509Certificate(raw);
  });
  return () => seen;
}
