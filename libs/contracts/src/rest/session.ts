import { AUTHENTICATION_METHOD, type NameOf } from './enumerations.js';
import { Choice } from './fields.js';

/** Header that carries the session on every call. */
export const SESSION_HEADER = 'x-zerto-session';

/** `POST /session/add`, with HTTP Basic credentials. */
export class SessionAddApi {
  @Choice(AUTHENTICATION_METHOD) AuthenticationMethod?: NameOf<typeof AUTHENTICATION_METHOD> | null;
}
