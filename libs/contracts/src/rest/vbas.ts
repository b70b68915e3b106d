import { Flag, Int, List, Section, Text } from './fields.js';
import { ResourceLink } from './links.js';

/** `POST /vbas` (a Tidemark addition, as all of this page): its answer is a token, see VbaTokenApi. */
export class VbaCreateDataApi {
  /** Shown to people; one of the site only. */
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 80 }) VbaName!: string;
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 64, description: 'Identifier of the machine that it runs on, as its TIDEMARK_HOST_ID says: letters, digits, ".", "_" and "-". The token is bound to it.' }) HostIdentifier!: string;
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 255, description: 'Where it listens on 4006: its certificate names it.' }) IpAddress!: string;
}

/** With what a VBA is enrolled. */
export class VbaTokenApi {
  @Text({ isRequired: true, description: 'Its TIDEMARK_VBA_ID.' }) VbaIdentifier!: string;
  @Text({ isRequired: true, lengthMax: 32_768 }) Token!: string;
  @Text({ isRequired: true }) UtcExpirationDate!: string;
}

export class VbaApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @Text({ isRequired: true }) VbaIdentifier!: string;
  @Text({ isRequired: true }) VbaName!: string;
  @Text({ isRequired: true }) HostIdentifier!: string;
  @Text({ isRequired: true }) IpAddress!: string;
  @Text() VbaVersion?: string | null;
  @Flag({ isRequired: true, description: 'Its heartbeat has been heard within the last seconds.' }) IsConnected!: boolean;
  @Flag({ isRequired: true }) IsBeingRemoved!: boolean;
  @Text() CertificateEnds?: string | null;
}

/** `POST /vpgs/{vpg}/verifycheckpoint` */
export class VerifyCheckpointDataApi {
  /** The newest when absent. */
  @Text({ lengthMax: 20 }) CheckpointIdentifier?: string | null;
  /** Any VBA of the recovery site that answers when absent. */
  @Text({ lengthMax: 64 }) VbaIdentifier?: string | null;
}

export class VerifiedVolumeApi {
  @Text({ isRequired: true }) VmIdentifier!: string;
  @Text({ isRequired: true }) VmName!: string;
  @Text({ isRequired: true }) DiskIdentifier!: string;
  @Int({ isRequired: true }) ReadInBytes!: number;
  @Text({ isRequired: true, description: "SHA-256 of the volume's whole image at the checkpoint, hex." }) Sha256!: string;
}

/** A checkpoint of which every byte was read. */
export class CheckpointVerificationApi {
  @Text({ isRequired: true }) TaskIdentifier!: string;
  @Text({ isRequired: true }) CheckpointIdentifier!: string;
  @Text({ isRequired: true }) VbaIdentifier!: string;
  @Text({ isRequired: true }) VerifiedAt!: string;
  @List(() => VerifiedVolumeApi) Volumes!: VerifiedVolumeApi[];
}
