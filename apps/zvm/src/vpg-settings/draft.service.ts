import { Inject, Injectable } from '@nestjs/common';
import { defaultVmSettings, defaultVpgSettings, type VmSettings, type VpgSettings } from '@tidemark/vpg';
import { randomUUID } from 'node:crypto';
import { currentNote } from '../audit/audit-note.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, notFound } from '../errors.js';
import { isSameId } from '../http/links.js';
import { SiteInventoryService } from '../site/site-inventory.service.js';
import { settingsOf } from '../vpg/vpg-definition.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { DraftStore, type Draft } from './draft.store.js';
import { bareVm, fromWire, mergeSection, mergeVm, toWire } from './settings-wire.js';

/** Unused drafts are thrown away after this time. */
const DRAFT_IDLE_MS = 24 * 3_600_000;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Sections that are read, replaced and reset alone. */
export const SECTIONS = {
  basic: 'basic', bootgroup: 'bootGroups', scripting: 'scripting', recovery: 'recovery', journal: 'journal', scratch: 'scratch', networks: 'networks',
  ltr: 'longTermRetention',
} as const satisfies Record<string, keyof VpgSettings>;
export type SectionName = keyof typeof SECTIONS;

/** The draft workflow of /vpgSettings: every change is written through; changes of one draft happen one after the other. */
@Injectable()
export class DraftService {
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(
    private readonly drafts: DraftStore,
    private readonly vpgs: VpgStore,
    private readonly sites: SiteInventoryService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** A new VPG, or one that exists (`vpgId`). Answers the draft's id. */
  async create(body: object): Promise<string> {
    const given = fromWire(body);
    const wantedId = given['vpgIdentifier'];
    const vpg = typeof wantedId === 'string' && wantedId !== '' ? this.vpgs.get(wantedId) : undefined;
    if (vpg) assertAlone(given);
    const draftId = randomUUID();
    const base = vpg ? settingsOf(vpg.definition) : this.#defaults(draftId);
    const vpgId = vpg?.definition.vpgId ?? null;
    const settings = await this.#merged({ ...base, vpgIdentifier: vpgId, vpgSettingsIdentifier: draftId }, vpg ? {} : given);
    await this.drafts.removeUnused(new Date(this.clock.nowMs() - DRAFT_IDLE_MS));
    await this.drafts.save({ draftId, vpgId, settings }, this.#now());
    return draftId;
  }

  async copy(vpgId: string): Promise<string> {
    const { definition } = this.vpgs.get(vpgId);
    const draftId = randomUUID();
    const settings: VpgSettings = {
      ...settingsOf(definition), vpgIdentifier: null, vpgSettingsIdentifier: draftId, vms: [],
      basic: { ...settingsOf(definition).basic, name: null },
    };
    await this.drafts.save({ draftId, vpgId: null, settings }, this.#now());
    return draftId;
  }

  async list(): Promise<Draft[]> {
    return await this.drafts.list();
  }

  async get(draftId: string): Promise<Draft> {
    const draft = UUID.test(draftId) ? await this.drafts.find(draftId.toLowerCase()) : undefined;
    if (!draft) throw notFound('VPG settings', draftId);
    return draft;
  }

  async remove(draftId: string): Promise<void> {
    await this.get(draftId);
    await this.drafts.remove(draftId.toLowerCase());
  }

  async replace(draftId: string, body: object): Promise<void> {
    await this.#change(draftId, async ({ settings }) => await this.#merged(settings, fromWire(body)));
  }

  async putSection(draftId: string, name: SectionName, body: object): Promise<void> {
    const key = SECTIONS[name];
    await this.#change(draftId, async ({ settings }) => await this.#merged(settings, { [key]: fromWire(body) }));
  }

  async resetSection(draftId: string, name: SectionName): Promise<void> {
    const key = SECTIONS[name];
    await this.#change(draftId, ({ settings }) => ({ ...settings, [key]: this.#defaults(draftId)[key] }));
  }

  /** @throws ZvmError ZVM_NOT_FOUND when the protected site shows no such VM, ZVM_CONFLICT when it is in the draft already */
  async addVm(draftId: string, body: object): Promise<void> {
    const given = fromWire(body);
    const vmId = given['vmIdentifier'];
    if (typeof vmId !== 'string' || vmId === '') throw invalid('VmIdentifier: the VM to add must be named');
    await this.#change(draftId, async ({ settings }) => {
      if (settings.vms.some((vm) => isSameId(vm.vmIdentifier, vmId))) throw conflict(`VM ${vmId} is in these settings already`);
      const template = await this.#templateOf(settings, vmId);
      if (!template) throw notFound('VM', vmId);
      return { ...settings, vms: [...settings.vms, mergeVm(given, template)] };
    });
  }

  async getVm(draftId: string, vmId: string): Promise<VmSettings> {
    return vmIn((await this.get(draftId)).settings, vmId);
  }

  async changeVm(draftId: string, vmId: string, change: (vm: VmSettings, template: VmSettings) => VmSettings): Promise<void> {
    await this.#change(draftId, async ({ settings }) => {
      const vm = vmIn(settings, vmId);
      const template = (await this.#templateOf(settings, vm.vmIdentifier ?? vmId)) ?? bareVm(vmId);
      const changed = change(vm, template);
      return { ...settings, vms: settings.vms.map((candidate) => (candidate === vm ? changed : candidate)) };
    });
  }

  async putVm(draftId: string, vmId: string, body: object): Promise<void> {
    await this.changeVm(draftId, vmId, (vm, template) => mergeVm(fromWire(body), template, vm));
  }

  async removeVm(draftId: string, vmId: string): Promise<void> {
    await this.#change(draftId, ({ settings }) => {
      const vm = vmIn(settings, vmId);
      return { ...settings, vms: settings.vms.filter((candidate) => candidate !== vm) };
    });
  }

  #defaults(draftId: string): VpgSettings {
    return defaultVpgSettings({ vpgSettingsId: draftId, protectedSiteId: this.config.siteId });
  }

  async #merged(current: VpgSettings, given: Record<string, unknown>): Promise<VpgSettings> {
    const { vms, vpgIdentifier: _vpg, vpgSettingsIdentifier: _draft, ...sections } = given;
    const merged = mergeSection<VpgSettings>(current, sections, this.#defaults(current.vpgSettingsIdentifier ?? ''));
    // Clients send ids in any letter case; ours are lower case.
    const { protectedSiteIdentifier, recoverySiteIdentifier } = merged.basic;
    const basic = {
      ...merged.basic,
      protectedSiteIdentifier: protectedSiteIdentifier?.toLowerCase() ?? null,
      recoverySiteIdentifier: recoverySiteIdentifier?.toLowerCase() ?? null,
    };
    const settings = { ...merged, basic, longTermRetention: emptyAsNull(merged.longTermRetention) };
    return { ...settings, vms: vms === undefined ? current.vms : await this.#vmsOf(settings, vms) };
  }

  async #vmsOf(settings: VpgSettings, given: unknown): Promise<VmSettings[]> {
    if (!Array.isArray(given)) return [];
    const vms: VmSettings[] = [];
    for (const entry of given as Record<string, unknown>[]) {
      const vmId = typeof entry['vmIdentifier'] === 'string' ? entry['vmIdentifier'] : '';
      const current = settings.vms.find((vm) => isSameId(vm.vmIdentifier, vmId));
      const template = (await this.#templateOf(settings, vmId).catch(() => undefined)) ?? current ?? bareVm(vmId);
      vms.push(mergeVm(entry, template, current ?? template));
    }
    return vms;
  }

  async #templateOf(settings: VpgSettings, vmId: string): Promise<VmSettings | undefined> {
    const { inventory } = await this.sites.of(settings.basic.protectedSiteIdentifier ?? this.config.siteId);
    const vm = inventory.vms.find(({ id }) => isSameId(id, vmId));
    return vm && defaultVmSettings({ vmId: vm.id, diskIds: vm.disks.map(({ id }) => id), nicIds: vm.nics.map(({ id }) => id) });
  }

  async #change(draftId: string, change: (draft: Draft) => Promise<VpgSettings> | VpgSettings): Promise<void> {
    const id = draftId.toLowerCase();
    const work = async (): Promise<void> => {
      const draft = await this.get(id);
      const settings = await change(draft);
      await this.drafts.save({ ...draft, settings }, this.#now());
      currentNote()?.changed(draft.settings, settings);
    };
    const mine = (this.#last.get(id) ?? Promise.resolve()).then(work);
    const settled = mine.catch(() => undefined);
    this.#last.set(id, settled);
    try {
      await mine;
    } finally {
      if (this.#last.get(id) === settled) this.#last.delete(id);
    }
  }

  #now(): Date {
    return new Date(this.clock.nowMs());
  }
}

/** A section that is not there is shown as an empty one, and put back as that. */
const emptyAsNull = <T>(section: T): T | null => (typeof section === 'object' && section !== null && Object.keys(section).length === 0 ? null : section);

/** Null sections would be reset and not left alone: what else is given beside the VPG cannot be told from what is meant. */
function assertAlone({ vpgIdentifier: _vpg, vpgSettingsIdentifier: _draft, ...besides }: Record<string, unknown>): void {
  const named = Object.keys(toWire<object>(besides)).filter((_, index) => (Object.values(besides)[index] ?? null) !== null);
  if (named.length > 0) throw invalid(`${named.join(', ')}: the draft of an existing VPG begins with what the VPG has: create it with VpgIdentifier alone, then PUT what is to change`);
}

function vmIn(settings: VpgSettings, vmId: string): VmSettings {
  const vm = settings.vms.find((candidate) => isSameId(candidate.vmIdentifier, vmId));
  if (!vm) throw notFound('VM in these settings', vmId);
  return vm;
}
