import { Body, Controller, Delete, Get, HttpCode, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { VpgSettingsApi, VpgSettingsVmApi, VpgSettingsVmNicApi, VpgSettingsVmVolumeApi } from '@tidemark/contracts';
import type { VmSettings } from '@tidemark/vpg';
import { Needs } from '../access/needs.js';
import { notFound } from '../errors.js';
import { isSameId } from '../http/links.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { DraftService } from './draft.service.js';
import { fromWire, mergeSection, settingsView, toWire } from './settings-wire.js';
import { CommitService } from './commit.service.js';

@ApiTags('vpgSettings')
@Controller('vpgSettings')
export class VpgSettingsController {
  constructor(
    private readonly drafts: DraftService,
    private readonly commits: CommitService,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VpgSettingsApi] })
  async list(): Promise<VpgSettingsApi[]> {
    return (await this.drafts.list()).map((draft) => settingsView(draft.settings));
  }

  /** Answers the new draft's id. */
  @Action()
  @Needs('manageVpgs')
  async create(@Body() body: VpgSettingsApi): Promise<string> {
    return await this.drafts.create(body);
  }

  @Action('copyVpgSettings')
  @Needs('manageVpgs')
  async copy(@Body() body: VpgSettingsApi): Promise<string> {
    return await this.drafts.copy(body.VpgIdentifier ?? '');
  }

  @Get(':sid')
  @ApiOkResponse({ type: VpgSettingsApi })
  async one(@Param('sid') draftId: string): Promise<VpgSettingsApi> {
    return settingsView((await this.drafts.get(draftId)).settings);
  }

  @Put(':sid')
  @Needs('manageVpgs')
  async replace(@Param('sid') draftId: string, @Body() body: VpgSettingsApi): Promise<void> {
    await this.drafts.replace(draftId, body);
  }

  @Delete(':sid')
  @HttpCode(200)
  @Needs('manageVpgs')
  async remove(@Param('sid') draftId: string): Promise<void> {
    await this.drafts.remove(draftId);
  }

  /** Answers the id of the task that makes or changes the VPG; the draft is gone then. */
  @Action(':sid/commit')
  @Needs('manageVpgs')
  async commit(@Param('sid') draftId: string, @SessionUser() user: string): Promise<string> {
    return await this.commits.commit(draftId, user);
  }

  @Get(':sid/priority')
  async priority(@Param('sid') draftId: string): Promise<string | null> {
    return (await this.drafts.get(draftId)).settings.basic.priority;
  }

  @Get(':sid/vms')
  @ApiOkResponse({ type: [VpgSettingsVmApi] })
  async vms(@Param('sid') draftId: string): Promise<VpgSettingsVmApi[]> {
    return toWire((await this.drafts.get(draftId)).settings.vms);
  }

  @Action(':sid/vms')
  @Needs('manageVpgs')
  async addVm(@Param('sid') draftId: string, @Body() body: VpgSettingsVmApi): Promise<void> {
    await this.drafts.addVm(draftId, body);
  }

  @Get(':sid/vms/:vm')
  @ApiOkResponse({ type: VpgSettingsVmApi })
  async vm(@Param('sid') draftId: string, @Param('vm') vmId: string): Promise<VpgSettingsVmApi> {
    return toWire(await this.drafts.getVm(draftId, vmId));
  }

  @Put(':sid/vms/:vm')
  @Needs('manageVpgs')
  async putVm(@Param('sid') draftId: string, @Param('vm') vmId: string, @Body() body: VpgSettingsVmApi): Promise<void> {
    await this.drafts.putVm(draftId, vmId, body);
  }

  @Delete(':sid/vms/:vm')
  @HttpCode(200)
  @Needs('manageVpgs')
  async removeVm(@Param('sid') draftId: string, @Param('vm') vmId: string): Promise<void> {
    await this.drafts.removeVm(draftId, vmId);
  }

  @Get(':sid/vms/:vm/volumes')
  @ApiOkResponse({ type: [VpgSettingsVmVolumeApi] })
  async volumes(@Param('sid') draftId: string, @Param('vm') vmId: string): Promise<VpgSettingsVmVolumeApi[]> {
    return toWire((await this.drafts.getVm(draftId, vmId)).volumes ?? []);
  }

  @Get(':sid/vms/:vm/volumes/:volume')
  @ApiOkResponse({ type: VpgSettingsVmVolumeApi })
  async volume(@Param('sid') draftId: string, @Param('vm') vmId: string, @Param('volume') volumeId: string): Promise<VpgSettingsVmVolumeApi> {
    return toWire(entryOf(await this.drafts.getVm(draftId, vmId), VOLUMES, volumeId));
  }

  @Put(':sid/vms/:vm/volumes/:volume')
  @Needs('manageVpgs')
  async putVolume(
    @Param('sid') draftId: string, @Param('vm') vmId: string, @Param('volume') volumeId: string, @Body() body: VpgSettingsVmVolumeApi,
  ): Promise<void> {
    await this.drafts.changeVm(draftId, vmId, (vm, template) => withEntry({ vm, template, kind: VOLUMES, id: volumeId, given: fromWire(body) }));
  }

  @Get(':sid/vms/:vm/nics')
  @ApiOkResponse({ type: [VpgSettingsVmNicApi] })
  async nics(@Param('sid') draftId: string, @Param('vm') vmId: string): Promise<VpgSettingsVmNicApi[]> {
    return toWire((await this.drafts.getVm(draftId, vmId)).nics ?? []);
  }

  @Get(':sid/vms/:vm/nics/:nic')
  @ApiOkResponse({ type: VpgSettingsVmNicApi })
  async nic(@Param('sid') draftId: string, @Param('vm') vmId: string, @Param('nic') nicId: string): Promise<VpgSettingsVmNicApi> {
    return toWire(entryOf(await this.drafts.getVm(draftId, vmId), NICS, nicId));
  }

  @Put(':sid/vms/:vm/nics/:nic')
  @Needs('manageVpgs')
  async putNic(@Param('sid') draftId: string, @Param('vm') vmId: string, @Param('nic') nicId: string, @Body() body: VpgSettingsVmNicApi): Promise<void> {
    await this.drafts.changeVm(draftId, vmId, (vm, template) => withEntry({ vm, template, kind: NICS, id: nicId, given: fromWire(body) }));
  }

  /** Back to the VPG's networks. */
  @Delete(':sid/vms/:vm/nics/:nic')
  @HttpCode(200)
  @Needs('manageVpgs')
  async resetNic(@Param('sid') draftId: string, @Param('vm') vmId: string, @Param('nic') nicId: string): Promise<void> {
    await this.drafts.changeVm(draftId, vmId, (vm, template) => withEntry({ vm, template, kind: NICS, id: nicId, given: null }));
  }
}

interface EntryKind {
  readonly list: 'volumes' | 'nics';
  readonly key: string;
  readonly title: string;
}
const VOLUMES: EntryKind = { list: 'volumes', key: 'volumeIdentifier', title: 'volume' };
const NICS: EntryKind = { list: 'nics', key: 'nicIdentifier', title: 'NIC' };

const hasId = (entry: object, kind: EntryKind, id: string): boolean => {
  const own = (entry as Record<string, unknown>)[kind.key];
  return typeof own === 'string' && isSameId(own, id);
};

function entryOf(vm: VmSettings, kind: EntryKind, id: string): object {
  const entry = (vm[kind.list] ?? []).find((candidate) => hasId(candidate, kind, id));
  if (!entry) throw notFound(kind.title, id);
  return entry;
}

/** The VM with one entry changed; `given` null resets it. */
function withEntry(change: {
  readonly vm: VmSettings; readonly template: VmSettings; readonly kind: EntryKind; readonly id: string; readonly given: Record<string, unknown> | null;
}): VmSettings {
  const { vm, template, kind, id, given } = change;
  const current = entryOf(vm, kind, id);
  const fresh: object = (template[kind.list] ?? []).find((candidate) => hasId(candidate, kind, id)) ?? current;
  const kept = (current as Record<string, unknown>)[kind.key];
  const next = given === null ? fresh : { ...mergeSection<object>(current, given, fresh), [kind.key]: kept };
  return { ...vm, [kind.list]: (vm[kind.list] ?? []).map((entry) => (entry === current ? next : entry)) };
}
