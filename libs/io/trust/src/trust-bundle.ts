import type { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, PeerCertificate } from 'node:tls';
import { type CaCertificate, readCaCertificates } from './ca-certificate.js';
import { type ApplianceRole, type ComponentName, nameUri, parseNameUri } from './component-name.js';
import { TrustError } from './trust-error.js';
import { isSignedBy, readDer, type ReadCertificate } from './x509.js';
import { timeText } from './time-text.js';

/** Certificates of an appliance that its site takes back before they end: it was removed, or another one was enrolled in its place. */
export interface VoidedComponent {
  readonly role: ApplianceRole;
  readonly instanceId: string;
  /** Those that begin before this, ms since 1970. */
  readonly beforeMs: number;
}

/** CA certificates by site, what a component believes. */
export interface TrustedSite {
  readonly siteId: string;
  /** Each one certificate or several, PEM. */
  readonly caPem: readonly string[];
  /** Absent: none. */
  readonly voided?: readonly VoidedComponent[];
}

/** What node:tls and node:crypto know of a peer: its certificate's DER is all that is looked at. */
export type PeerProof = PeerCertificate | DetailedPeerCertificate | X509Certificate;

/** What a peer must be besides believed; absent parts are not looked at. */
export type ExpectedPeer = Partial<ComponentName>;

/** Which CA speaks for which site. Never changes: a new set of sites is a new bundle. */
export class TrustBundle {
  readonly sites: readonly TrustedSite[];
  readonly #cas: ReadonlyMap<string, readonly CaCertificate[]>;
  /** By name of the appliance, when its certificates begin to be believed. */
  readonly #voidedBeforeMs: ReadonlyMap<string, number>;

  /** Throws TRUST_CERTIFICATE for a CA that is none, or not of the site that it is given for. */
  constructor(sites: readonly TrustedSite[]) {
    this.sites = sites;
    this.#cas = new Map(sites.map(({ siteId, caPem }) => [siteId, caPem.flatMap((pem) => readCaCertificates(pem, `the CA of site ${siteId}`, siteId))]));
    this.#voidedBeforeMs = new Map(sites.flatMap(({ siteId, voided = [] }) => voided.map(({ role, instanceId, beforeMs }) => [nameUri({ siteId, role, instanceId }), beforeMs])));
  }

  /** All CAs, for `node:tls`. That a chain ends in one of them is not enough: {@link verify} asks whether it is the right one. */
  get caPem(): string[] {
    return [...this.#cas.values()].flat().map(({ pem }) => pem);
  }

  /** The component that this certificate names, if the CA of that very site signed it and has not taken it back. Undefined: not believed. Whether it has ended is not looked at. */
  identify(peer: PeerProof | undefined): ComponentName | undefined {
    const found = readPeer(peer);
    return found && this.#signer(found.certificate, found.name) && !this.#isVoid(found.certificate, found.name) ? found.name : undefined;
  }

  /**
   * As {@link identify}, with dates, and with words for the refusal: TRUST_UNKNOWN, TRUST_EXPIRED, TRUST_NOT_YET_VALID. It relies on
   * nothing that OpenSSL has checked before, so it also serves a socket with `rejectUnauthorized: false`.
   */
  verify(peer: PeerProof | undefined, nowMs: number, expected: ExpectedPeer = {}): ComponentName {
    const found = readPeer(peer);
    if (!found) throw new TrustError('TRUST_UNKNOWN', 'the peer shows no certificate of a Tidemark component');
    const { certificate, name } = found;
    const signer = this.#signer(certificate, name);
    if (!signer) {
      const why = this.#cas.has(name.siteId) ? 'but no CA that this component knows of that site signed it' : 'a site that this one does not trust';
      throw new TrustError('TRUST_UNKNOWN', `the peer's certificate says ${nameUri(name)}, ${why}`);
    }
    if (this.#isVoid(certificate, name)) {
      throw new TrustError('TRUST_UNKNOWN', `the certificate of ${nameUri(name)} was taken back by its site: this ${name.role.toUpperCase()} was removed, or another one was enrolled in its place. If it should belong there it has to be enrolled anew (tidemark ${name.role}-token)`);
    }
    for (const part of [certificate, signer]) assertInTime(part, { who: nameUri(name), nowMs });
    assertExpected(name, expected);
    return name;
  }

  #isVoid({ notBeforeMs }: ReadCertificate, name: ComponentName): boolean {
    return notBeforeMs < (this.#voidedBeforeMs.get(nameUri(name)) ?? -Infinity);
  }

  #signer(certificate: ReadCertificate, name: ComponentName): CaCertificate | undefined {
    return this.#cas.get(name.siteId)?.find((ca) => isSignedBy(certificate, ca));
  }
}

function readPeer(peer: PeerProof | undefined): { certificate: ReadCertificate; name: ComponentName } | undefined {
  // An empty object is how node:tls says "no certificate".
  const raw = peer?.raw as Uint8Array | undefined;
  if (raw === undefined || raw.length === 0) return undefined;
  let certificate: ReadCertificate;
  try {
    certificate = readDer(raw);
  } catch {
    return undefined;
  }
  const [uri = '', ...others] = certificate.uris;
  const name = parseNameUri(uri);
  if (name === undefined || others.length > 0 || certificate.isCa) return undefined;
  return { certificate, name };
}

/** Both times are said: which of them is the wrong one is for a person to see. */
export function assertInTime(life: { readonly notBeforeMs: number; readonly notAfterMs: number }, { who, nowMs }: { readonly who: string; readonly nowMs: number }): void {
  if (nowMs > life.notAfterMs) {
    throw new TrustError('TRUST_EXPIRED', `the certificate of ${who} ended at ${timeText(life.notAfterMs)}; this machine's clock says ${timeText(nowMs)}. If the clock is right the certificate has to be renewed, else mend the clock`);
  }
  if (nowMs < life.notBeforeMs) {
    throw new TrustError('TRUST_NOT_YET_VALID', `the certificate of ${who} begins at ${timeText(life.notBeforeMs)}; this machine's clock says ${timeText(nowMs)}. The clock here or the one where it was made is wrong`);
  }
}

function assertExpected(name: ComponentName, expected: ExpectedPeer): void {
  for (const part of ['siteId', 'role', 'instanceId'] as const) {
    const wanted = expected[part];
    if (wanted !== undefined && wanted !== name[part]) throw new TrustError('TRUST_UNKNOWN', `the peer is ${nameUri(name)}; its ${part} should be ${wanted}`);
  }
}
