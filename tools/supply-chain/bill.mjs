/** A CycloneDX document of what the lock file names: the same bytes for the same lock file, and nothing left out. */
import { createHash } from 'node:crypto';
import { idOf, lockedPackages } from './lock.mjs';

/** A version-8 UUID (RFC 9562: free bits) made of the lock file's hash: whoever has the lock file gets the same serial number. */
function serialNumber(lockText) {
  const hex = createHash('sha256').update(lockText).digest('hex');
  const variant = ((Number.parseInt(hex[16], 16) & 0x3) | 0x8).toString(16);
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const byRef = (a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : a['bom-ref'] > b['bom-ref'] ? 1 : 0);

/** What `npm sbom` printed, without what changes from run to run: time, random serial number, order, and the name of the folder it ran in. */
export function toFixedBill(printed, { lockText, packageName }) {
  const { lifecycles, tools, component } = printed.metadata;
  return {
    ...printed,
    serialNumber: serialNumber(lockText),
    metadata: { lifecycles, tools, component: { ...component, name: packageName } },
    components: [...printed.components].sort(byRef),
    dependencies: [...printed.dependencies].sort((a, b) => (a.ref < b.ref ? -1 : 1)),
  };
}

const HEX = (integrity) => Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');

/** What is wrong with a bill: packages of the lock file that it lacks, or whose licence or hash it does not state as the lock file does. */
export function findGaps(bill, lock) {
  const components = new Map(bill.components.map((component) => [component['bom-ref'].replace(/\|.*/, ''), component]));
  return lockedPackages(lock).flatMap((entry) => {
    const component = components.get(idOf(entry));
    if (!component) return [`${idOf(entry)} (${entry.path}) is missing`];
    const hasLicence = (component.licenses ?? []).length > 0;
    const hasHash = entry.integrity === undefined || (component.hashes ?? []).some(({ content }) => content === HEX(entry.integrity));
    return [...(hasLicence ? [] : [`${idOf(entry)}: no licence`]), ...(hasHash ? [] : [`${idOf(entry)}: not the hash of the lock file`])];
  });
}
