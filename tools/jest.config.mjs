/** Which files a lane runs: LANE = unit | property | integration | interop | sim | e2e (file name suffix), all else from the preset. */
import preset from '../jest.preset.js';

const LANES = {
  unit: ['**/src/**/!(*.prop|*.int|*.interop|*.sim|*.e2e).spec.ts', 'tools/**/!(*.int|*.e2e).spec.mjs'],
  property: ['**/src/**/*.prop.spec.ts'],
  integration: ['**/src/**/*.int.spec.ts', 'tools/**/*.int.spec.mjs'],
  interop: ['**/src/**/*.interop.spec.ts'],
  sim: ['**/src/**/*.sim.spec.ts'],
  e2e: ['**/src/**/*.e2e.spec.ts', 'tools/**/*.e2e.spec.mjs'],
};
const lane = process.env.LANE ?? 'unit';
if (!(lane in LANES)) throw new Error(`no lane '${lane}'; there are ${Object.keys(LANES).join(', ')}`);
const isLong = lane !== 'unit' && lane !== 'property';

export default {
  ...preset,
  testMatch: LANES[lane].map((glob) => `<rootDir>/${glob}`),
  testTimeout: isLong ? 120_000 : 20_000,
  maxWorkers: 2,
};
