import { type NameOf, ROLE } from './enumerations.js';
import { Choice, Flag, Instant, List, Section, Text, Texts } from './fields.js';
import { ResourceLink } from './links.js';

/** A role everywhere, or on some VPGs only. */
export class RoleGrantApi {
  @Choice(ROLE, { isRequired: true }) Role!: NameOf<typeof ROLE>;
  @Texts({ description: 'Identifiers of the VPGs that it is bound to; null or absent: everything.' }) VpgIdentifiers?: string[] | null;
}

export class UserApi {
  @Section(() => ResourceLink) Link?: ResourceLink | null;
  @Text({ isRequired: true }) UserIdentifier!: string;
  @Text({ isRequired: true }) UserName!: string;
  @List(() => RoleGrantApi, { isRequired: true }) Roles!: RoleGrantApi[];
  @Flag({ isRequired: true }) IsDisabled!: boolean;
  @Flag({ isRequired: true, description: 'The password was made by an administrator: its first session can only change it.' }) IsPasswordToBeChanged!: boolean;
  @Instant({ isRequired: true }) Created!: string;
  @Instant() LastLogin?: string | null;
}

/** `POST /users` */
export class UserCreateApi {
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 100 }) UserName!: string;
  @List(() => RoleGrantApi, { isRequired: true }) Roles!: RoleGrantApi[];
}

/** `PUT /users/{user}`: what is absent stays. */
export class UserChangeApi {
  @List(() => RoleGrantApi) Roles?: RoleGrantApi[] | null;
  @Flag() IsDisabled?: boolean | null;
}

/** Shown once, in the answer to `POST /users` and `POST /users/{user}/resetPassword`; nothing keeps it. */
export class GeneratedPasswordApi {
  @Text({ isRequired: true }) UserIdentifier!: string;
  @Text({ isRequired: true }) UserName!: string;
  @Text({ isRequired: true }) Password!: string;
}

/** `POST /session/password`: the caller's own. */
export class PasswordChangeApi {
  @Text({ isRequired: true, lengthMax: 1024 }) OldPassword!: string;
  @Text({ isRequired: true, lengthMax: 1024 }) NewPassword!: string;
}

export class SessionApi {
  @Text({ isRequired: true }) SessionIdentifier!: string;
  @Text({ isRequired: true }) UserName!: string;
  /** `Password` or `Oidc`. */
  @Text({ isRequired: true }) Method!: string;
  @Text({ isRequired: true }) Address!: string;
  @Text({ isRequired: true }) Client!: string;
  @Instant({ isRequired: true }) Created!: string;
  @Instant({ isRequired: true }) LastUsed!: string;
  @Instant({ isRequired: true }) Expires!: string;
  @Flag({ isRequired: true, description: 'The session of this very call.' }) IsOwn!: boolean;
}

/** `GET /session`: who the caller is and what it may do. */
export class CallerApi {
  @Text({ isRequired: true }) UserName!: string;
  /** `Password`, `Oidc` or `Token`. */
  @Text({ isRequired: true }) Method!: string;
  @List(() => RoleGrantApi, { isRequired: true }) Roles!: RoleGrantApi[];
  @Texts({ isRequired: true }) Permissions!: string[];
  @Flag({ isRequired: true }) IsPasswordToBeChanged!: boolean;
  @Instant() Expires?: string | null;
}

/** `POST /tokens` */
export class TokenCreateApi {
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 100 }) Name!: string;
  @Texts({ isRequired: true, description: 'Permissions, of those that the caller has.' }) Scopes!: string[];
  @Texts({ description: 'VPGs that it is bound to; null or absent: as its owner.' }) VpgIdentifiers?: string[] | null;
  @Instant({ isRequired: true, description: 'At most a year away.' }) Expires!: string;
}

export class TokenApi {
  @Text({ isRequired: true }) TokenIdentifier!: string;
  @Text({ isRequired: true }) Name!: string;
  @Text({ isRequired: true }) UserName!: string;
  @Texts({ isRequired: true }) Scopes!: string[];
  @Texts() VpgIdentifiers?: string[] | null;
  @Instant({ isRequired: true }) Created!: string;
  @Instant({ isRequired: true }) Expires!: string;
  @Instant() LastUsed?: string | null;
}

/** The answer to `POST /tokens`, the only one that shows the token. */
export class CreatedTokenApi extends TokenApi {
  @Text({ isRequired: true }) Token!: string;
}
