import { AUTHENTICATION_METHOD, type NameOf } from './enumerations.js';
import { Choice, Flag, Text } from './fields.js';

/** Header that carries the session on every call. */
export const SESSION_HEADER = 'x-zerto-session';

/** `POST /session/add`, with HTTP Basic credentials. */
export class SessionAddApi {
  @Choice(AUTHENTICATION_METHOD) AuthenticationMethod?: NameOf<typeof AUTHENTICATION_METHOD> | null;
}

/** `GET /session/oidc` */
export class OidcInfoApi {
  @Flag({ isRequired: true }) IsEnabled!: boolean;
  @Text() Issuer?: string | null;
}

/** `POST /session/oidc/begin` */
export class OidcBeginApi {
  @Text({ isRequired: true, lengthMax: 500, description: 'Where the browser comes back to: http://127.0.0.1:<port>/callback, or a page that the site lists.' }) RedirectUri!: string;
}

export class OidcBegunApi {
  @Text({ isRequired: true, description: 'A secret of whoever began; good for one try within 10 minutes.' }) LoginIdentifier!: string;
  @Text({ isRequired: true, description: 'To be opened in a browser.' }) AuthorizationUrl!: string;
}

/** `POST /session/oidc/finish` */
export class OidcFinishApi {
  @Text({ isRequired: true, lengthMax: 100 }) LoginIdentifier!: string;
  @Text({ isRequired: true, lengthMax: 8000, description: 'The whole address that the browser came back to.' }) CallbackUrl!: string;
}
