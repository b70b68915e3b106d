import type { Site } from './checkers.js';
import { Random } from './random.js';
import type { World } from './world.js';

/** What happens to a process other than its end. By a row of numbers of their own, as the faults of the medium. */
export const PROCESS_FAULTS = ['pause'] as const;
export type ProcessFault = (typeof PROCESS_FAULTS)[number];

const CHANCE: Record<ProcessFault, number> = { pause: 0.2 };
const MEAN_MS = [150, 400, 1200] as const;
/** Within a hold, longer than a hold, longer than a peer is believed to live. */
const PAUSE_MS = [10, 60, 300, 1000, 4000] as const;

export function processFaultsOf(seed: number): [ProcessFault, number][] {
  const random = new Random(seed ^ 0x57094);
  return PROCESS_FAULTS.flatMap((fault) => {
    const [isChosen, meanMs] = [random.chance(CHANCE[fault]), random.pick(MEAN_MS)];
    return isChosen ? [[fault, meanMs] as [ProcessFault, number]] : [];
  });
}

export class ProcessFaults {
  readonly #random: Random;

  constructor(world: World, private readonly site: Site) {
    this.#random = new Random(world.seed ^ 0x9a05e);
  }

  pause(): void {
    this.#random.pick([...this.site.protecting, ...this.site.recovering]).pause(this.#random.below(this.#random.pick(PAUSE_MS)));
  }

  makeWhole(): void {
    for (const host of [...this.site.protecting, ...this.site.recovering]) host.resume();
  }
}
