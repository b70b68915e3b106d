import { HypervisorError } from './hypervisor-error.js';
import type { HypervisorManager } from './port.js';
import type { HypervisorAccess } from './simulated/https-call.js';
import { SimulatedHypervisorManager } from './simulated/simulated-hypervisor-manager.js';

/**
 * The manager that `spec` names: `<kind>:<address>`, e.g. `simulated:https://127.0.1.2:9440`. Throws HYPERVISOR_INVALID; nothing is
 * connected yet.
 */
export function createHypervisorManager(spec: string, access: HypervisorAccess): HypervisorManager {
  const colon = spec.indexOf(':');
  const kind = spec.slice(0, Math.max(colon, 0));
  const address = spec.slice(colon + 1);
  if (kind !== 'simulated') throw new HypervisorError('HYPERVISOR_INVALID', `'${spec}': the kinds of hypervisor manager are: simulated:URL`);
  if (!URL.canParse(address) || new URL(address).protocol !== 'https:') {
    throw new HypervisorError('HYPERVISOR_INVALID', `'${spec}': an address like https://127.0.1.2:9440 is expected after 'simulated:'`);
  }
  return new SimulatedHypervisorManager(address.replace(/\/+$/, ''), access);
}
