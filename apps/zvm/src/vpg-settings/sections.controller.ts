import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, type Type } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiTags } from '@nestjs/swagger';
import {
  VpgSettingsBasicApi, VpgSettingsBootGroupsApi, VpgSettingsJournalApi, VpgSettingsLtrApi, VpgSettingsNetworksApi, VpgSettingsRecoveryApi,
  VpgSettingsScratchApi, VpgSettingsScriptsApi,
} from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { bodyOf } from '../http/body-of.js';
import { DraftService, SECTIONS, type SectionName } from './draft.service.js';
import { toWire } from './settings-wire.js';

const SECTION_TYPES: Record<SectionName, Type<object>> = {
  basic: VpgSettingsBasicApi,
  bootgroup: VpgSettingsBootGroupsApi,
  scripting: VpgSettingsScriptsApi,
  recovery: VpgSettingsRecoveryApi,
  journal: VpgSettingsJournalApi,
  scratch: VpgSettingsScratchApi,
  networks: VpgSettingsNetworksApi,
  ltr: VpgSettingsLtrApi,
};

/** The sections of a draft differ in nothing but their schema: one controller class for each. */
function sectionController(name: SectionName): Type<object> {
  const type = SECTION_TYPES[name];

  @ApiTags('vpgSettings')
  @Controller(`vpgSettings/:sid/${name}`)
  class SectionController {
    constructor(readonly drafts: DraftService) {}

    @Get()
    @ApiOkResponse({ type })
    async get(@Param('sid') draftId: string): Promise<object> {
      // A section that is not there is an empty one: null would be no JSON object to PUT back.
      return toWire<object | null>((await this.drafts.get(draftId)).settings[SECTIONS[name]]) ?? {};
    }

    @Put()
    @Needs('manageVpgs')
    @ApiBody({ type })
    async put(@Param('sid') draftId: string, @Body() body: object): Promise<void> {
      await this.drafts.putSection(draftId, name, await bodyOf(type, body));
    }

    @Post()
    @Needs('manageVpgs')
    @HttpCode(200)
    @ApiBody({ type })
    async post(@Param('sid') draftId: string, @Body() body: object): Promise<void> {
      await this.drafts.putSection(draftId, name, await bodyOf(type, body));
    }

    @Delete()
    @Needs('manageVpgs')
    @HttpCode(200)
    async reset(@Param('sid') draftId: string): Promise<void> {
      await this.drafts.resetSection(draftId, name);
    }
  }
  // The OpenAPI document and stack traces name controllers by class.
  Object.defineProperty(SectionController, 'name', { value: `VpgSettings${name}Controller` });
  return SectionController;
}

export const SECTION_CONTROLLERS = (Object.keys(SECTIONS) as SectionName[]).map(sectionController);
