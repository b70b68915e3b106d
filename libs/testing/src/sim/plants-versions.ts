import type { Plant } from './plants.js';

const HELLO = 'libs/core/frame/src/hello.ts';

/** Hosts that are restarted on an older or newer program: versions.ts. */
export const VERSION_PLANTS: readonly Plant[] = [
  {
    name: 'replicates-without-a-version', breaks: 'two sides that have no version in common exchange nothing but their hello', seedBudget: 20, expects: ['protocol'], under: ['otherVersion', 300],
    mutation: { file: HELLO, find: 'if (version < Math.max(own.versionMin, peer.versionMin)) {', replace: 'if (version < own.versionMin) {' },
  },
  {
    name: 'codec-that-nobody-agreed-on', breaks: 'a frame comes in a codec that its receiver has said it knows', seedBudget: 40, expects: ['protocol'], under: ['otherVersion', 300], shape: { isCompressed: true },
    mutation: { file: HELLO, find: '(own.features & peer.features) >>> 0', replace: 'own.features >>> 0' },
  },
  { name: 'gives-up-on-another-version', breaks: 'whoever shares no version with its peer keeps trying: the peer may be restarted on another one', seedBudget: 40, expects: ['stuck'], flag: 'versionGivesUp', under: ['otherVersion', 300] },
];
