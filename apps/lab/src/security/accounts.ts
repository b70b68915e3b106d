import type { SiteApi } from '../rest/site-api.js';
import { type Person, type Role, ROLES } from './people.js';
import { restCall } from './strangers.js';
import type { Place } from './wire.js';

const NEW_PASSWORD = 'correct horse battery staple';

/** A user with a role, logged in, after the change of password that its first session is for. */
async function logIn(api: SiteApi, place: Place, { name, roles }: { readonly name: string; readonly roles: readonly object[] }): Promise<Person['headers']> {
  const { Password: password } = await api.call<{ Password: string }>('POST', '/users', { UserName: name, Roles: roles });
  const basic = (secret: string): string => `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`;
  const open = async (secret: string): Promise<string> => {
    const { status, text, session } = await restCall(place, { method: 'POST', path: '/v1/session/add', headers: { authorization: basic(secret) } });
    if (session === undefined) throw new Error(`user ${name} cannot log in: ${status} ${text}`);
    return session;
  };
  const first = await open(password);
  await restCall(place, { method: 'POST', path: '/v1/session/password', body: JSON.stringify({ OldPassword: password, NewPassword: NEW_PASSWORD }), headers: { 'x-zerto-session': first } });
  return { 'x-zerto-session': await open(NEW_PASSWORD) };
}

export interface NamedPerson extends Person {
  readonly role: Role;
  /** Its role is bound to a VPG that is not the one of this lab. */
  readonly isElsewhere: boolean;
}

/** One user of each role, and an operator whose role is bound to another VPG. */
export async function makePeople(api: SiteApi, place: Place): Promise<NamedPerson[]> {
  const people: NamedPerson[] = [];
  for (const role of ROLES) people.push({ who: role, role, isElsewhere: false, headers: await logIn(api, place, { name: `probe-${role}`, roles: [{ Role: role }] }) });
  const bound = [{ Role: 'operator', VpgIdentifiers: ['ffffffff-0000-4000-8000-00000000000f'] }];
  people.push({ who: 'operator of another VPG', role: 'operator', isElsewhere: true, headers: await logIn(api, place, { name: 'probe-elsewhere', roles: bound }) });
  return people;
}
