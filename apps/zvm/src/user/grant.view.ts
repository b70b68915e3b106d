import { type NameOf, ROLE, type RoleGrantApi } from '@tidemark/contracts';
import type { Role, RoleGrant } from '../access/permissions.js';
import { invalid } from '../errors.js';

const NAMES: Readonly<Record<Role, NameOf<typeof ROLE>>> = {
  administrator: 'Administrator', operator: 'Operator', tester: 'Tester', viewer: 'Viewer', fileRestoreOperator: 'FileRestoreOperator',
};
const ROLE_OF = Object.fromEntries(Object.entries(NAMES).map(([role, name]) => [name, role])) as Record<NameOf<typeof ROLE>, Role>;

export const grantView = ({ role, vpgIds }: RoleGrant): RoleGrantApi => ({ Role: NAMES[role], VpgIdentifiers: vpgIds === null ? null : [...vpgIds] });

/** @throws ZvmError ZVM_INVALID */
export function grantsOf(given: readonly RoleGrantApi[]): RoleGrant[] {
  if (given.length === 0) throw invalid('Roles: at least one is needed; a user without any could not even look');
  return given.map(({ Role, VpgIdentifiers }) => {
    const role = ROLE_OF[Role];
    if (role === 'administrator' && VpgIdentifiers) throw invalid('Roles: an administrator is one of the whole site: leave VpgIdentifiers out');
    if (VpgIdentifiers?.length === 0) throw invalid('Roles: VpgIdentifiers is empty; leave it out for every VPG');
    return { role, vpgIds: VpgIdentifiers?.map((id) => id.toLowerCase()) ?? null };
  });
}
