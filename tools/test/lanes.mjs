/**
 * The lanes of `npm test`, in order, cheapest first. A lane with `command` counts as one test (lint, typecheck) or counts
 * for itself; the others are Jest lanes whose files follow from the suffix (tools/jest.config.mjs). `minutesMax` is what a
 * lane may take on two cores; together they stay below CI's 25 minutes in practice, not in sum.
 */
export const LANES = {
  lint: { command: ['nx', 'run', 'workspace:lint', '--output-style=static'], minutesMax: 4 },
  typecheck: { command: ['tsc', '-p', 'tsconfig.json'], minutesMax: 4 },
  tidy: { command: ['node', 'tools/tidy.mjs'], minutesMax: 1, countsItself: true },
  unit: { minutesMax: 5 },
  property: { minutesMax: 5 },
  integration: { minutesMax: 12 },
  interop: { minutesMax: 6 },
  sim: { minutesMax: 6 },
  e2e: { minutesMax: 12 },
};
