import { Body, Controller, Delete, Get, HttpCode, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { CertificateApi, ImportCertificateApi, RestCertificateApi, SiteCertificatesApi } from '@tidemark/contracts';
import { X509Certificate } from 'node:crypto';
import { Needs } from '../access/needs.js';
import { EventService } from '../event/event.service.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { CaRotation } from './ca-rotation.service.js';
import type { OwnRole } from './site-trust.js';
import { TrustService } from './trust.service.js';

const COMPONENTS: Readonly<Record<OwnRole, string>> = { zvm: 'Zvm', nats: 'Nats', postgres: 'Postgres', hypervisor: 'Hypervisor' };

/** Certificates of the site; what changes them is for administrators. */
@ApiTags('localsite')
@Controller('localsite')
@Needs('view', 'shown')
export class TrustController {
  constructor(
    private readonly service: TrustService,
    private readonly events: EventService,
    private readonly rotation: CaRotation,
  ) {}

  @Get('certificate')
  @ApiOkResponse({ type: RestCertificateApi })
  served(): RestCertificateApi {
    const { cert, origin } = this.service.certificate.current();
    return { ...certificateView('Rest', cert), IsImported: origin === 'imported' };
  }

  /** New connections get it at once; the private key is never shown again. */
  @Needs('manageSite')
  @Put('certificate')
  @HttpCode(200)
  @ApiOkResponse({ type: RestCertificateApi })
  async import(@Body() body: ImportCertificateApi, @SessionUser() user: string): Promise<RestCertificateApi> {
    await this.service.certificate.import(body.CertificatePem, body.PrivateKeyPem);
    const served = this.served();
    await this.#record(user, `Port 9669 is served with the imported certificate ${served.Fingerprint}, which ends at ${served.ValidUntil}.`);
    return served;
  }

  /** Back to the certificate of the site's CA. */
  @Needs('manageSite')
  @Delete('certificate')
  @HttpCode(200)
  @ApiOkResponse({ type: RestCertificateApi })
  async useOwn(@SessionUser() user: string): Promise<RestCertificateApi> {
    await this.service.certificate.useOwn();
    await this.#record(user, "Port 9669 is served with the certificate of the site's CA.");
    return this.served();
  }

  @Get('certificates')
  @ApiOkResponse({ type: SiteCertificatesApi })
  all(): SiteCertificatesApi {
    const { trust } = this.service;
    return {
      Certificates: [
        ...trust.ca.trustedPem.map((pem) => certificateView('SiteCa', pem)),
        ...[...trust.identities()].map(([role, identity]) => certificateView(COMPONENTS[role], identity.current().certificatePem)),
      ],
      Rotation: { Phase: `${trust.phase.charAt(0).toUpperCase()}${trust.phase.slice(1)}`, WaitsFor: [...this.rotation.waitsFor] },
      CaPem: trust.ca.trustedPem.join(''),
    };
  }

  /** Begins; it goes on by itself, over restarts too, and `GET certificates` says how far it is. */
  @Needs('manageSite')
  @Action('certificates/rotate')
  async rotate(@SessionUser() user: string): Promise<SiteCertificatesApi> {
    await this.rotation.begin();
    await this.#record(user, 'The rotation of the CA was begun.');
    return this.all();
  }

  async #record(userName: string, description: string): Promise<void> {
    await this.events.record({ type: 'SetAdvancedSiteSettings', category: 'Events', entity: 'Site', userName, isSuccess: true, vpgIds: [], description });
  }
}

function certificateView(component: string, pem: string): CertificateApi {
  const leaf = new X509Certificate(pem);
  const oneLine = (name: string): string => name.split('\n').join(', ');
  return {
    Component: component, Subject: oneLine(leaf.subject), Names: leaf.subjectAltName?.split(', ') ?? [], Issuer: oneLine(leaf.issuer),
    ValidFrom: leaf.validFromDate.toISOString(), ValidUntil: leaf.validToDate.toISOString(), Fingerprint: leaf.fingerprint256,
  };
}
