import { ApiError } from '@tidemark/api-client';
import type { SitePair } from '../e2e/site-pair.js';
import { parseTarget, processesOf } from '../lab.js';
import { SITE_NAMES, type SiteName } from '../layout.js';
import { isVbaConnected, VBA_NAME } from '../servers/vba.js';
import { until } from '../until.js';
import { allowed, carryOut, type Outcome, refused, type Result } from './attempt.js';

const ROTATION_MS_MAX = 180_000;
const COMPONENT_MS_MAX = 120_000;

interface Certificates {
  readonly Certificates: readonly { readonly Component: string; readonly Fingerprint: string }[];
  readonly Rotation: { readonly Phase: string; readonly WaitsFor: readonly string[] };
}

/**
 * The CAs of both sites are rotated, which gives every component a new certificate; then each component is killed and started again, and has to work with what it has now: the VPG gets a new checkpoint, listed at the recovery
 * site, and a failover test opens it.
 */
export async function restoreAll(pair: SitePair, vpgId: string, tell: (line: string) => void): Promise<Result[]> {
  const results: Result[] = [];
  const add = async (port: string, tried: string, timeMs: number, run: () => Promise<Outcome>): Promise<void> => {
    tell(`${port}: ${tried}`);
    results.push(await carryOut({ who: 'the sites themselves', port, tried, isExpectedAllowed: true, run }, timeMs));
  };
  for (const site of SITE_NAMES) await add(`${site}/zvm`, 'rotate the CA', ROTATION_MS_MAX, () => rotated(pair, site));
  await add('b/zvm', 'checkpoints go on after the rotations', COMPONENT_MS_MAX, () => nextCheckpoint(pair, vpgId));
  for (const site of SITE_NAMES) {
    for (const { name } of await processesOf(pair.lab, site).list()) await add(`${site}/${name}`, 'killed, started, works', COMPONENT_MS_MAX, () => restored(pair, vpgId, `${site}/${name}`));
  }
  await add('b/zvm', 'a failover test with the keys of now', COMPONENT_MS_MAX, () => tested(pair, vpgId));
  return results;
}

async function rotated(pair: SitePair, site: SiteName): Promise<Outcome> {
  const before = await look(pair, site);
  await (await pair.api(site)).call('POST', '/localsite/certificates/rotate');
  let last = before;
  const after = await until(`the CA of site ${site}`, async () => {
    last = await look(pair, site);
    return last.Rotation.Phase === 'Steady' && fingerprintOf(last, 'SiteCa') !== fingerprintOf(before, 'SiteCa') ? last : undefined;
  }, { timeoutMs: ROTATION_MS_MAX - 5000 }).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}: ${last.Rotation.Phase}, waits for ${last.Rotation.WaitsFor.join('; ')}`);
  });
  // From here on by the new CA alone: connections that are open do not show what a new one meets.
  await pair.reconnect(site);
  const same = after.Certificates.filter(({ Fingerprint }) => before.Certificates.some((one) => one.Fingerprint === Fingerprint)).map(({ Component }) => Component);
  return same.length > 0 ? refused(`still the old certificate: ${same.join(', ')}`) : allowed(`${after.Certificates.length} certificates are new`);
}

/** The certificate of 9669 changes on the way: who looks believes the CA of the moment. */
async function look(pair: SitePair, site: SiteName): Promise<Certificates> {
  try {
    return await (await pair.api(site)).get<Certificates>('/localsite/certificates');
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'API_UNTRUSTED') throw error;
    await pair.reconnect(site);
    return await (await pair.api(site)).get<Certificates>('/localsite/certificates');
  }
}

const fingerprintOf = ({ Certificates: all }: Certificates, component: string): string | undefined => all.find(({ Component }) => Component === component)?.Fingerprint;

async function restored(pair: SitePair, vpgId: string, target: string): Promise<Outcome> {
  const { site, process: name } = parseTarget(target);
  if (name === VBA_NAME) return await backupApplianceRestored(pair, vpgId, site);
  await pair.kill(target);
  await pair.start(target);
  return await nextCheckpoint(pair, vpgId);
}

/** No checkpoint needs it: it is missed by its ZVM and then heard again, and where the VPG is recovered it reads every byte of a checkpoint. */
async function backupApplianceRestored(pair: SitePair, vpgId: string, site: SiteName): Promise<Outcome> {
  const api = await pair.api(site);
  const heard = async (wanted: boolean): Promise<true> => await until(`the VBA of site ${site} is ${wanted ? 'heard' : 'missed'}`, async () => ((await isVbaConnected(api)) === wanted ? true : undefined), { timeoutMs: COMPONENT_MS_MAX / 3 });
  await pair.kill(`${site}/${VBA_NAME}`);
  await heard(false);
  await pair.start(`${site}/${VBA_NAME}`);
  await heard(true);
  if (site === 'a') return allowed('missed, then heard');
  const vpg = await pair.vpg('b', vpgId);
  const { CheckpointIdentifier } = await pair.nextCheckpoint(vpg);
  await vpg.verify(CheckpointIdentifier);
  return allowed(`verified checkpoint ${CheckpointIdentifier}`);
}

/** Made by both VRAs of the protected site, sent to the other site, listed by its ZVM: no component can be missing. */
async function nextCheckpoint(pair: SitePair, vpgId: string): Promise<Outcome> {
  const { CheckpointIdentifier } = await pair.nextCheckpoint(await pair.vpg('b', vpgId), COMPONENT_MS_MAX - 20_000);
  return allowed(`checkpoint ${CheckpointIdentifier}`);
}

async function tested(pair: SitePair, vpgId: string): Promise<Outcome> {
  const vpg = await pair.vpg('b', vpgId);
  const { CheckpointIdentifier } = await pair.nextCheckpoint(vpg);
  await vpg.startTest(CheckpointIdentifier);
  await pair.recovered(1);
  await vpg.stopTest();
  return allowed(`checkpoint ${CheckpointIdentifier} was opened`);
}
