import { Flag, Instant, List, Section, Text, Texts } from './fields.js';

/** The certificate of 9669. A Tidemark addition, as all of this file. */
export class CertificateApi {
  /** `Zvm`, `Nats`, `Vra`, …; `SiteCa` for the site's CA. */
  @Text({ isRequired: true }) Component!: string;
  @Text({ isRequired: true }) Subject!: string;
  /** DNS names, addresses and the component's URI. */
  @Texts({ isRequired: true }) Names!: string[];
  @Text({ isRequired: true }) Issuer!: string;
  @Instant({ isRequired: true }) ValidFrom!: string;
  @Instant({ isRequired: true }) ValidUntil!: string;
  /** SHA-256, hex with colons. */
  @Text({ isRequired: true }) Fingerprint!: string;
}

export class RestCertificateApi extends CertificateApi {
  /** False: of the site's CA, renewed by itself. */
  @Flag({ isRequired: true }) IsImported!: boolean;
}

/** `PUT /localsite/certificate` */
export class ImportCertificateApi {
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 65_536, hasLines: true, description: 'PEM: the certificate of the server first, then the CAs that signed it, up to the root.' })
  CertificatePem!: string;
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 65_536, hasLines: true, description: 'PEM without a passphrase: RSA from 2048 bits, EC or Ed25519.' }) PrivateKeyPem!: string;
}

export class CaRotationApi {
  /** `Steady`: one CA. `Announced`: the next one is being made known. `Switched`: it signs, the old one is still trusted. */
  @Text({ isRequired: true }) Phase!: string;
  /** What the next step waits for, in words; empty when nothing is to be done. */
  @Texts({ isRequired: true }) WaitsFor!: string[];
}

/** `GET /localsite/certificates` */
export class SiteCertificatesApi {
  @List(() => CertificateApi, { isRequired: true }) Certificates!: CertificateApi[];
  @Section(() => CaRotationApi, { isRequired: true }) Rotation!: CaRotationApi;
  @Text({ isRequired: true, hasLines: true, description: 'PEM of what has to be trusted to believe this site.' }) CaPem!: string;
}
