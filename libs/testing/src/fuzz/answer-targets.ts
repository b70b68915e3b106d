import 'reflect-metadata';
import { gzipSync } from 'node:zlib';
import { type Answer, DONE, IDENTITY_GRANT, PEER_ANSWERS, VBA_COMMANDS, VRA_COMMANDS } from '@tidemark/contracts';
import { readAnswer } from '@tidemark/nest';
import { VRA_STATUS_SAMPLE } from './event-targets.js';
import { MONSTERS, PAIRING_GRANT_SAMPLE, PEER_TRUST_SAMPLE } from './message-targets.js';
import { mutated, mutatedJson } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const CHECKPOINT = { checkpointId: 4, epoch: 1, term: 0, vmIds: ['vm'], atMs: 1, ageMs: 1.5, tag: 'before', kind: 'tagged' };
const HOST = { id: 'h', name: 'host', address: '127.0.0.1', isConnected: true, datastoreIds: ['d'], networkIds: ['n'], nbdSocketPath: '/run/x' };
const VM = {
  id: 'vm', name: 'web', hostId: 'h', folderId: 'f', powerState: 'poweredOn', cpuCount: 1, memoryMiB: 512, guestOs: 'Linux',
  disks: [{ id: 'scsi:0:0', sizeBytes: 4096, datastoreId: 'd', location: '/d/vm.raw', exportName: 'vm-d', isFile: true }], nics: [{ id: 'n', networkId: 'n', mac: '' }],
};
const INVENTORY = {
  inventory: { revision: 3, hosts: [HOST], datastores: [{ id: 'd', name: 'd1', path: '/d', capacityBytes: 2, freeBytes: 1 }], networks: [{ id: 'n', name: 'net' }], folders: [{ id: 'f', name: 'all' }], vms: [VM] },
  vras: [{ vraId: '7', name: 'Z-VRA-1', hostId: 'h', address: '127.0.0.1', controlPort: 4007, dataPort: 4008, isAlive: true }],
};
const SETTLED = { fingerprints: ['1:2:3:4', ''] };

/** Of every answer that says something, one that is good; by who is asked and what. */
const SAMPLES: Readonly<Record<string, object>> = {
  'vra status.get': VRA_STATUS_SAMPLE,
  'vra protection.settle': SETTLED,
  'vra checkpoint.insert': { checkpointId: 4 },
  'vra checkpoint.list': { instance: ID, lastChange: 3, isWhole: true, isMore: false, held: [CHECKPOINT, { ...CHECKPOINT, tag: null }], dropped: [3] },
  'vra checkpoint.disks': { disks: [{ volume: 0, diskId: 'scsi:0:0', sizeBytes: 4096 }] },
  'vba verification.get': { state: 'read', problem: '', readBytes: 4096, totalBytes: 4096, volumes: [{ vmId: 'vm', diskId: 'd', readBytes: 4096, sha256: 'a'.repeat(64) }] },
  'peer pairing.redeem': PAIRING_GRANT_SAMPLE,
  'peer trust.renew': PEER_TRUST_SAMPLE,
  'peer inventory.get': INVENTORY,
  'peer vpg.settle': { vms: [{ vmId: 'vm', ...SETTLED }] },
  'peer checkpoint.insert': { checkpointId: 4 },
  'peer catalogue.put': { revision: 3 },
  'peer vm.power': { changedVmIds: ['vm'] },
  'zvm trust.renew': { certificatePem: 'x', caPem: ['x'], natsJwt: 'a.b.c' },
};

const commandsOf = (who: string, commands: Readonly<Record<string, { readonly answer: Answer<object> }>>): [string, Answer<object>][] => Object.entries(commands).map(([topic, { answer }]) => [`${who} ${topic}`, answer]);

/** All that components ask each other. */
const ASKED: readonly (readonly [string, Answer<object>])[] = [
  ...commandsOf('vra', VRA_COMMANDS), ...commandsOf('vba', VBA_COMMANDS), ...Object.entries(PEER_ANSWERS).map(([topic, answer]): [string, Answer<object>] => [`peer ${topic}`, answer]), ['zvm trust.renew', IDENTITY_GRANT],
];

/** By question, with a good one of each; undefined: nobody has written one down. */
export const fuzzedAnswers: ReadonlyMap<string, { readonly answer: Answer<object>; readonly sample: object | undefined }> =
  new Map(ASKED.map(([question, answer]) => [question, { answer, sample: answer === DONE ? {} : SAMPLES[question] }]));

/** The names of all fields in it: an answer has those of a good one, whatever came along. */
const fieldsIn = (value: unknown): string[] => {
  if (typeof value !== 'object' || value === null) return [];
  return Array.isArray(value) ? value.flatMap(fieldsIn) : Object.entries(value).flatMap(([name, each]) => [name, ...fieldsIn(each)]);
};
const textsIn = (value: unknown): string[] => (typeof value === 'string' ? [value] : typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : []);

function checkTaken(taken: object, sample: object): void {
  const known = new Set(fieldsIn(sample));
  const stray = fieldsIn(taken).find((name) => !known.has(name));
  if (stray !== undefined) throw new FuzzViolation(`an answer was taken with a field that nobody knows: ${stray}`);
  if (textsIn(taken).some((text) => text.length > 64 * 1024)) throw new FuzzViolation('an answer was taken with a text without an end');
}

/** Answers as the control bus takes them from the broker, packed or not: refused with a typed error, or handed on as what was asked for and no more. */
const answers: FuzzTarget = {
  name: 'nats-answers',
  gateCount: 500,
  async run(random) {
    const [question, { answer, sample }] = random.pick([...fuzzedAnswers]);
    if (sample === undefined) throw new FuzzViolation(`no good answer to ${question} is known`);
    const reply = random.chance(0.85) ? { isOk: true, result: sample } : { isOk: false, code: 'VRA_CONFLICT', message: 'no' };
    const json = random.chance(0.7) && reply.isOk ? `{"isOk":true,"result":${mutatedJson(sample, random)}}` : mutatedJson(reply, random);
    const plain = Buffer.from(random.chance(0.03) ? random.pick(MONSTERS)(JSON.stringify(reply)) : json);
    const packed = random.chance(0.3) ? gzipSync(plain, { level: 1 }) : plain;
    const taken = await readAnswer(random.chance(0.2) ? mutated(packed, random) : packed, answer, question);
    checkTaken(taken, sample);
    if (({} as { readonly polluted?: unknown }).polluted !== undefined) throw new FuzzViolation('Object.prototype was changed');
  },
};

export const ANSWER_TARGETS: readonly FuzzTarget[] = [answers];
