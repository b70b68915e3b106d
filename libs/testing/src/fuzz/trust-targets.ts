import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatToken, makeRequest, newSecret, parseNameUri, nameUri, parseToken, readCaCertificates, SiteCa, TrustBundle, type Token } from '@tidemark/trust';
import type { Random } from '../sim/random.js';
import { mutated, mutatedJson, noise } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const SITE_ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

interface Samples {
  readonly ca: SiteCa;
  readonly caPem: string;
  readonly requestPem: string;
  readonly tokens: readonly Token[];
}

let samples: Promise<Samples> | undefined;

/** Keys are made once: what is fuzzed is who reads them. */
const sampled = (): Promise<Samples> => (samples ??= makeSamples());

async function makeSamples(): Promise<Samples> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-fuzz-'));
  const ca = await SiteCa.openOrMake(folder, { siteId: SITE_ID, siteName: 'fuzzed' }, Date.now);
  await rm(folder, { recursive: true, force: true });
  const caPem = ca.trustedPem.join('');
  const base = { siteId: SITE_ID, siteName: 'fuzzed', address: '127.0.0.1', port: 9081, caPem, tokenId: 't1', secret: newSecret(), expiresAtMs: Date.now() };
  const { pem } = await makeRequest();
  return { ca, caPem, requestPem: pem, tokens: [{ kind: 'pairing', ...base, natsJwt: 'a.b.c', natsSeed: 'SUA' }, { kind: 'enrolment', ...base, role: 'vra', instanceId: '91', hostId: 'h1' }] };
}

/** Bytes of a text, damaged, as text again; or other bytes in its armour. */
function damaged(text: string, random: Random): string {
  if (random.chance(0.2)) {
    const body = Buffer.from(mutated(Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64'), random)).toString('base64');
    return text.replace(/(-----BEGIN [^-]+-----\n)[^-]+/, (_, begin: string) => `${begin}${body}\n`);
  }
  return random.chance(0.1) ? Buffer.from(noise(random.int(5000), random)).toString('latin1') : Buffer.from(mutated(Buffer.from(text), random)).toString('latin1');
}

/** What a person pastes: refused with words that do not show its secret, or read as a token whose every part was looked at. */
const tokens: FuzzTarget = {
  name: 'tokens',
  gateCount: 200,
  async run(random) {
    const token = random.pick((await sampled()).tokens);
    const whole = random.chance(0.5) ? formatToken(token) : `tidemark1.${token.kind}.${Buffer.from(mutatedJson(token, random)).toString('base64url')}`;
    try {
      const read = parseToken(random.chance(0.6) ? damaged(whole, random) : whole);
      if (read.siteId !== SITE_ID || read.port < 1 || read.port > 65_535 || read.secret.length !== token.secret.length) throw new FuzzViolation('a token was read that says something else than its CA, or has no port or secret');
    } catch (error) {
      if (error instanceof Error && error.message.includes(token.secret)) throw new FuzzViolation('the refusal of a token shows its secret');
      throw error;
    }
  },
};

/** PKCS#10 of strangers at 9080: refused, or signed for the name that the CA was told, whatever the request says. */
const requests: FuzzTarget = {
  name: 'certificate-requests',
  gateCount: 40,
  async run(random) {
    const { ca, requestPem } = await sampled();
    const { certificatePem } = await ca.issue(damaged(requestPem, random), { siteId: SITE_ID, role: 'vra', instanceId: '91' }, ['127.0.0.1']);
    if (!certificatePem.includes('BEGIN CERTIFICATE')) throw new FuzzViolation('something else than a certificate was issued');
  },
};

/** CA certificates of peers. */
const caCertificates: FuzzTarget = {
  name: 'ca-certificates',
  gateCount: 60,
  async run(random) {
    const { caPem } = await sampled();
    const text = random.chance(0.1) ? caPem.repeat(1 + random.int(50)) : damaged(caPem, random);
    for (const { siteId, isCa } of readCaCertificates(text, 'the CA of a peer', SITE_ID)) if (siteId !== SITE_ID || !isCa) throw new FuzzViolation('a certificate was taken for a CA of the site, and is not');
    new TrustBundle([{ siteId: SITE_ID, caPem: [text] }]);
  },
};

/** The name in a certificate: read only as it is written. */
const names: FuzzTarget = {
  name: 'component-names',
  gateCount: 200,
  run(random) {
    const uri = Buffer.from(mutated(Buffer.from(nameUri({ siteId: SITE_ID, role: 'vra', instanceId: '91' })), random)).toString('latin1');
    const name = parseNameUri(uri);
    if (name && nameUri(name) !== uri) throw new FuzzViolation(`${JSON.stringify(uri)} was read as ${nameUri(name)}`);
  },
};

export const TRUST_TARGETS: readonly FuzzTarget[] = [tokens, requests, caCertificates, names];
