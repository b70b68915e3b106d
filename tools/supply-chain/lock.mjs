/** The packages of package-lock.json as the checks see them. */

const OURS = /^(libs|apps)\//;

/** Name under which a package was published: of an alias (`npm:…`) the real one, which the lock file keeps. */
const nameOf = (path, entry) => entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);

/** Every package that `npm ci` may put on some machine, those for other platforms included: one entry per place. Links and the root are not packages. */
export function lockedPackages(lock) {
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== '' && entry.link !== true)
    .map(([path, entry]) => ({ ...entry, path, name: nameOf(path, entry), isOurs: OURS.test(path) }));
}

export const idOf = ({ name, version }) => `${name}@${version}`;
