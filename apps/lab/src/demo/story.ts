import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../lab-error.js';
import type { Lab } from '../identity.js';
import { labUp, waitForVm } from '../lab.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { type LaneMarks, uriOf, Workload } from '../guest/workload.js';
import { siteApi } from '../rest/connect-sites.js';
import type { SiteApi } from '../rest/site-api.js';
import { type Checkpoint, protect, VpgClient, VPG_STATUS } from '../rest/vpg-client.js';
import { replicationFigures, type ReplicationFigures } from '../rest/vra-figures.js';
import { labStatus, type VmStatus } from '../status.js';
import { bytesText, paint, secondsText } from '../terminal.js';
import { until } from '../until.js';
import { addToExt4, changedBlocks, checkExt4, type Manifest, makeExt4, makeFiles, makeMoreFiles, manifestOf } from './file-system.js';
import { complaint, type Proof, proveRecovered } from './proof.js';
import { FILE_SYSTEM, LANES, wreckFileSystem, writeOldData } from './scene.js';
import { clockText, ratioText, type Stage, type TimelineEntry } from './stage.js';
import { mustRun } from './tools.js';

const VPG_NAME = 'shop';
const LANE_PAUSE_MS = 4;
const SYNC_TIMEOUT_MS = 180_000;
const CALM_CHECKPOINTS = 3;
const REFRESH_MS = 250;

/** The demo's play, act by act; what one act learns is kept for the next. */
export class Story {
  #lab: Lab | undefined;
  #apis: { a: SiteApi; b: SiteApi } | undefined;
  #vpg: VpgClient | undefined;
  #workload: Workload | undefined;
  #files: Manifest = new Map();
  #oldDataDigest = '';
  #afterSync: ReplicationFigures | undefined;
  #beforeDamage: ReplicationFigures | undefined;
  #syncBytes = 0;
  #slowestMs = 0;
  #rpoSeconds: number | null = null;
  #chosen: { readonly checkpoint: Checkpoint; readonly atLeast: LaneMarks; readonly atMost: LaneMarks; readonly atMs: number } | undefined;
  #damageAtMs = 0;
  #completedAtDamage = 0;
  #rtoMs = 0;

  constructor(
    private readonly stage: Stage,
    private readonly environment: Readonly<Record<string, string | undefined>>,
  ) {}

  async play(): Promise<Proof> {
    this.stage.title();
    await this.#raiseSites();
    await this.#settleIn();
    await this.#protect();
    await this.#liveOn();
    await this.#breakIt();
    await this.#failOver();
    const proof = await this.#prove();
    this.#summary(proof);
    return proof;
  }

  /** Ends what the story itself holds; the lab goes on. */
  async close(): Promise<void> {
    this.#workload?.disconnect();
    await Promise.all([this.#apis?.a.close(), this.#apis?.b.close()]);
  }

  async #raiseSites(): Promise<void> {
    this.stage.section('Two sites');
    const startedAtMs = performance.now();
    const lab = await labUp(this.environment, (line) => this.stage.step(line));
    this.#lab = lab;
    this.#apis = { a: await siteApi(lab.layout.sites.a), b: await siteApi(lab.layout.sites.b) };
    const { sites } = await labStatus(lab);
    for (const site of sites) {
      const processes = site.processes.map((process) => process.name).join(', ');
      this.stage.good(`site ${site.name}  ${paint.underline(site.restUrl)}  ${paint.dim(processes)}`);
    }
    this.stage.say(paint.dim(`up in ${secondsText(performance.now() - startedAtMs)}`));
  }

  async #settleIn(): Promise<void> {
    this.stage.section('A shop moves in at site a');
    const folder = await this.#folder();
    const vms = await this.#vms('a');
    const filesBytes = await makeFiles(join(folder, 'files'));
    this.#files = await manifestOf(join(folder, 'files'));
    await makeExt4(join(folder, 'web01.raw'), join(folder, 'files'), FILE_SYSTEM.sizeBytes);
    await mustRun('nbdcopy', ['--flush', join(folder, 'web01.raw'), uriOf(vms, FILE_SYSTEM)]);
    this.stage.good(`web01: an ext4 file system with ${this.#files.size} files, ${bytesText(filesBytes)}`);
    this.#oldDataDigest = await writeOldData(vms);
    this.stage.good('db01: 64 MiB of old data on its first disk');
    this.#workload = new Workload(LANES, vms);
    this.#workload.start(LANE_PAUSE_MS);
    this.stage.good(`its database writes: ${LANES.length} chains of dependent 4 KiB writes over both disks of db01 and over web01`);
  }

  async #protect(): Promise<void> {
    this.stage.section('Protect both in one VPG');
    const vms = (await this.#vms('a')).filter((vm) => vm.name === 'web01' || vm.name === 'db01');
    const [first, second] = this.#need(this.#lab).layout.sites.b.hosts;
    const names = [first?.name ?? '', second?.name ?? ''];
    const vpgId = await protect(this.#need(this.#apis).a, {
      name: VPG_NAME,
      vmIds: vms.map((vm) => vm.id),
      recoverySiteId: this.#need(this.#lab).identity.sites.b.siteId,
      hostNameOf: Object.fromEntries(vms.map((vm, index) => [vm.id, names[index % 2] ?? ''])),
    });
    this.#vpg = new VpgClient(this.#need(this.#apis).b, vpgId);
    this.stage.step(`VPG ${VPG_NAME}: web01 on ${vms[0]?.host ?? '?'}, db01 on ${vms[1]?.host ?? '?'}, recovered by two VRAs at site b`);
    const startedAtMs = performance.now();
    await until('the initial sync', () => this.#syncStep(vpgId), { timeoutMs: SYNC_TIMEOUT_MS, everyMs: REFRESH_MS });
    this.stage.clearLive();
    this.#afterSync = await this.#figures();
    this.stage.good(`initial sync under load in ${secondsText(performance.now() - startedAtMs)}, the first checkpoint can be recovered`);
  }

  /** Defined once a checkpoint is listed: before the sync has ended there is none. */
  async #syncStep(vpgId: string): Promise<true | undefined> {
    const [view, checkpoints] = await Promise.all([new VpgClient(this.#need(this.#apis).a, vpgId).view(), this.#need(this.#vpg).checkpoints()]);
    if (view.Status !== VPG_STATUS.initializing && checkpoints.length > 0) return true;
    const { syncRemainingBytes, sentBytes } = await this.#figures();
    this.#syncBytes = Math.max(this.#syncBytes, syncRemainingBytes);
    const fraction = this.#syncBytes === 0 ? 0 : 1 - syncRemainingBytes / this.#syncBytes;
    const left = fraction === 1 ? 'waiting for the first checkpoint' : `${bytesText(syncRemainingBytes)} left`;
    this.stage.progress('initial sync', fraction, `${left}, ${bytesText(sentBytes)} sent`);
    return undefined;
  }

  async #liveOn(): Promise<void> {
    this.stage.section('Life goes on, a checkpoint every few seconds');
    const start = (await this.#need(this.#vpg).checkpoints()).length;
    await this.#addFiles();
    await this.#watch((checkpoints) => checkpoints.length >= start + CALM_CHECKPOINTS);
    const workload = this.#need(this.#workload);
    const atLeast = workload.completed();
    const atMs = Date.now();
    const checkpoint = await this.#need(this.#vpg).insertTagged('before the release');
    this.#chosen = { checkpoint, atLeast, atMost: workload.issued(), atMs };
    await this.#showTimeline({ isKept: true });
    this.stage.good(`tagged checkpoint '${checkpoint.Tag ?? ''}' stands at both sites after ${secondsText(Date.now() - atMs)}`);
  }

  async #addFiles(): Promise<void> {
    const folder = await this.#folder();
    const added = await makeMoreFiles(join(folder, 'more'));
    const image = join(folder, 'web01.raw');
    const before = await readFile(image);
    await addToExt4(image, join(folder, 'more'));
    const after = await readFile(image);
    const guest = new NbdGuest(uriOf(await this.#vms('a'), FILE_SYSTEM));
    const offsets = changedBlocks(before, after);
    for (const offset of offsets) await guest.write(offset, after.subarray(offset, offset + 4096));
    await guest.flush();
    guest.close();
    const more = await manifestOf(join(folder, 'more'));
    this.#files = new Map([...this.#files, ...more]);
    this.stage.step(`web01 stores ${more.size} more files (${bytesText(added)}): ${offsets.length} blocks of its file system change`);
  }

  async #breakIt(): Promise<void> {
    this.stage.section('The release goes wrong');
    await this.#watchFor(2000);
    this.#rpoSeconds = (await this.#need(this.#vpg).view()).ActualRPO;
    this.#beforeDamage = await this.#figures();
    this.#damageAtMs = Date.now();
    this.#completedAtDamage = this.#need(this.#workload).writeCount;
    const wrecked = await wreckFileSystem(await this.#vms('a'));
    this.stage.bad(`${bytesText(wrecked)} of garbage over the file system of web01 at ${clockText(this.#damageAtMs)}`);
    const image = join(await this.#folder(), 'wrecked.raw');
    await mustRun('nbdcopy', [uriOf(await this.#vms('a'), FILE_SYSTEM), image]);
    const check = await checkExt4(image);
    if (check.isClean) throw new LabError('LAB_PROOF', 'the damage did not reach the protected disk');
    this.stage.bad(`e2fsck on the protected disk: ${complaint(check.output)}`);
    await this.#watch((checkpoints) => checkpoints.some((checkpoint) => Date.parse(checkpoint.TimeStamp) > this.#damageAtMs));
    await this.#showTimeline({ isKept: true });
    this.stage.say(paint.dim('the newest checkpoints hold the damage too: replication alone would not have helped'));
  }

  async #failOver(): Promise<void> {
    const { checkpoint } = this.#need(this.#chosen);
    const beforeMs = this.#damageAtMs - Date.parse(checkpoint.TimeStamp);
    this.stage.section(`Fail over to ${clockText(checkpoint.TimeStamp)}, ${secondsText(beforeMs)} before the damage`);
    await this.#need(this.#workload).stop();
    const startedAtMs = performance.now();
    await this.#need(this.#vpg).failover(checkpoint.CheckpointIdentifier);
    const recovered = await this.#recoveredVms();
    for (const vm of recovered) await waitForVm(vm);
    this.#rtoMs = performance.now() - startedAtMs;
    for (const vm of recovered) this.stage.good(`${vm.name} runs on ${vm.host} at site b, not committed yet`);
  }

  async #recoveredVms(): Promise<readonly VmStatus[]> {
    return await until('the recovered VMs', async () => {
      const vms = (await this.#vms('b')).filter((vm) => vm.powerState === 'poweredOn');
      return vms.length >= 2 ? vms : undefined;
    });
  }

  async #prove(): Promise<Proof> {
    this.stage.section('Proof, from the recovered disks alone');
    const { atLeast, atMost } = this.#need(this.#chosen);
    const expected = { files: this.#files, oldDataDigest: this.#oldDataDigest, atLeast, atMost };
    return await proveRecovered(this.stage, await this.#recoveredVms(), expected, await this.#folder());
  }

  #summary(proof: Proof): void {
    const { checkpoint } = this.#need(this.#chosen);
    const lossMs = this.#damageAtMs - Date.parse(checkpoint.TimeStamp);
    const kept = [...proof.lastSeqs.values()].reduce((sum, seq) => sum + seq, 0);
    const [after, before] = [this.#need(this.#afterSync), this.#need(this.#beforeDamage)];
    this.stage.table([
      ['recovered to', `${clockText(checkpoint.TimeStamp)} '${checkpoint.Tag ?? ''}', ${secondsText(lossMs)} before the damage`],
      ['RPO just before the damage', this.#rpoSeconds === null ? 'not known' : `${this.#rpoSeconds} s`],
      ['RTO, order to readable disks', secondsText(this.#rtoMs)],
      ['writes kept / made until the damage', `${kept} / ${this.#completedAtDamage}`],
      ['replicated under load', ratioText(before.writtenBytes - after.writtenBytes, before.sentBytes - after.sentBytes)],
      ['sent in all, initial sync included', bytesText(before.sentBytes)],
      ['slowest guest write', `${this.#slowestMs.toFixed(1)} ms (held for checkpoints: p99 ${before.holdMsP99.toFixed(1)} ms)`],
    ]);
  }

  async #watch(isEnough: (checkpoints: readonly Checkpoint[]) => boolean): Promise<void> {
    await until('new checkpoints', async () => (isEnough(await this.#showTimeline({ isKept: false })) ? true : undefined), { everyMs: REFRESH_MS });
  }

  async #watchFor(ms: number): Promise<void> {
    for (const endsAtMs = Date.now() + ms; Date.now() < endsAtMs; await sleep(REFRESH_MS)) await this.#showTimeline({ isKept: false });
  }

  async #showTimeline({ isKept }: { readonly isKept: boolean }): Promise<readonly Checkpoint[]> {
    const [checkpoints, view, figures] = await Promise.all([this.#need(this.#vpg).checkpoints(), this.#need(this.#vpg).view(), this.#figures()]);
    const workload = this.#need(this.#workload);
    this.#slowestMs = Math.max(this.#slowestMs, workload.takeSlowestMs());
    const facts = [
      `RPO ${view.ActualRPO === null ? '?' : `${view.ActualRPO} s`}`,
      `${checkpoints.length} checkpoints`,
      `${workload.writeCount} writes`,
      `${bytesText(figures.writtenBytes)} written`,
      `${bytesText(figures.lagBytes)} on the way`,
    ].join(paint.dim('  ·  '));
    const entries = timelineOf(checkpoints, { damageAtMs: this.#damageAtMs });
    if (isKept) this.stage.keepTimeline(entries, facts);
    else this.stage.timeline(entries, facts);
    return checkpoints;
  }

  async #figures(): Promise<ReplicationFigures> {
    return await replicationFigures(this.#need(this.#lab).layout.sites.a, this.#need(this.#vpg).vpgId);
  }

  async #vms(site: 'a' | 'b'): Promise<readonly VmStatus[]> {
    const { sites } = await labStatus(this.#need(this.#lab));
    return sites.find((candidate) => candidate.name === site)?.vms ?? [];
  }

  async #folder(): Promise<string> {
    const folder = join(this.#need(this.#lab).layout.folder, 'demo');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  #need<T>(value: T | undefined): T {
    if (value === undefined) throw new LabError('LAB_REFUSED', 'the demo is out of order');
    return value;
  }
}

/** The damage stands where it happened between the checkpoints. */
export function timelineOf(checkpoints: readonly Checkpoint[], { damageAtMs }: { readonly damageAtMs: number }): TimelineEntry[] {
  const entries = checkpoints.map((checkpoint): TimelineEntry & { atMs: number } => ({
    kind: checkpoint.Tag ? 'tagged' : 'automatic',
    caption: checkpoint.Tag ? `'${checkpoint.Tag}'` : clockText(checkpoint.TimeStamp),
    atMs: Date.parse(checkpoint.TimeStamp),
  }));
  if (damageAtMs === 0) return entries;
  const damage = { kind: 'damage' as const, caption: `damage ${clockText(damageAtMs)}`, atMs: damageAtMs };
  return [...entries, damage].sort((left, right) => left.atMs - right.atMs);
}
