import { createRequire } from 'node:module';
import { type Koffi, LinuxSys } from './linux-sys.js';
import { NoSys } from './no-sys.js';
import type { Sys } from './sys.js';

const require = createRequire(import.meta.url);

/** System calls as far as this machine has them: never throws. `load` gives koffi, or throws. */
export function loadSys(load: () => Koffi = () => require('koffi') as Koffi): Sys {
  try {
    return new LinuxSys(load());
  } catch (error) {
    return new NoSys(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
  }
}

/** Those of this machine. */
export const sys: Sys = loadSys();
