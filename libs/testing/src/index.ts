export { WaitMeter } from './load/wait-meter.js';
export { LinkProxy } from './net/link-proxy.js';
export { NbdClient } from './vra/nbd-client.js';
export { RecoveryPair } from './vra/recovery-pair.js';
export { until, VraRig } from './vra/rig.js';
export { TestSite } from './vra/test-site.js';
export { mutatedJson } from './fuzz/mutate.js';
export { Random } from './sim/random.js';
