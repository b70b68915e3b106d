import { ZVM_VERSION } from '../version.js';
import { conflict } from '../errors.js';

const majorOf = (version: string): string => version.split('.')[0] ?? '';

/** Sites of different major versions do not understand each other. @throws ZvmError ZVM_CONFLICT naming both versions */
export function assertCompatible(site: { readonly name: string; readonly version: string }, own = ZVM_VERSION): void {
  if (majorOf(site.version) === majorOf(own)) return;
  throw conflict(`site ${site.name} runs Tidemark ${site.version.slice(0, 50)}, this site ${own}: only sites of the same major version can be paired`);
}
