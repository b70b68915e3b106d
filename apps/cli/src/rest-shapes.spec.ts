import { describe, expect, it } from '@jest/globals';
import {
  ALERT_ENTITY, ALERT_LEVEL, names, parseBody, toCamelKeys, toPascalKeys, VPG_STATUS, VPG_SUB_STATUS, VpgSettingsApi, VpgSettingsBasicApi, VpgSettingsBootGroupsApi,
  VpgSettingsJournalApi, VpgSettingsNetworksApi, VpgSettingsRecoveryApi, VpgSettingsScratchApi, VpgSettingsScriptsApi, VpgSettingsVmApi, type AlertEntityName, type AlertLevelName,
  type VpgStatusName, type VpgSubStatusName,
} from '@tidemark/contracts';
import { ALERTS, defaultVmSettings, defaultVpgSettings, type AlertDefinition, type VpgStatus, type VpgSubStatus } from '@tidemark/vpg';

/** The REST bodies (contracts) and the domain (vpg) may not import each other; here both are in reach. */

const defaults = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'a' });
const settings = { ...defaults, vms: [defaultVmSettings({ vmId: 'vm', diskIds: ['scsi:0:0'], nicIds: ['nic'] })] };
const plain = (value: unknown): object => JSON.parse(JSON.stringify(value)) as object;

describe('VPG settings', () => {
  it('convert key by key, both ways', () => {
    expect(toCamelKeys(toPascalKeys(settings))).toEqual(settings);
  });

  it.each<[string, new () => object, unknown]>([
    ['whole', VpgSettingsApi, settings], ['basic', VpgSettingsBasicApi, settings.basic], ['bootgroup', VpgSettingsBootGroupsApi, settings.bootGroups],
    ['scripting', VpgSettingsScriptsApi, settings.scripting], ['recovery', VpgSettingsRecoveryApi, settings.recovery], ['journal', VpgSettingsJournalApi, settings.journal],
    ['scratch', VpgSettingsScratchApi, settings.scratch], ['networks', VpgSettingsNetworksApi, settings.networks], ['vm', VpgSettingsVmApi, settings.vms[0]],
  ])('%s: what GET shows is taken by PUT and comes out the same, nulls included', (_, type, section) => {
    const shown = plain(toPascalKeys(section));
    const parsed = parseBody(type, shown);
    expect(parsed.isValid ? plain(parsed.value) : parsed.messages).toEqual(shown);
    const nulls = Object.fromEntries(Object.keys(shown).map((key) => [key, null]));
    expect(parseBody(type, nulls)).toEqual({ isValid: true, value: nulls });
  });
});

describe('words of the domain', () => {
  it('are words of the REST enumerations', () => {
    // The compiler checks these lines: a word that contracts lacks does not type-check.
    const status = (word: VpgStatus): VpgStatusName => word;
    const subStatus = (word: VpgSubStatus): VpgSubStatusName => word;
    const level = ({ level: word }: AlertDefinition): AlertLevelName => word;
    const entity = ({ entity: word }: AlertDefinition): AlertEntityName => word;
    expect([status('MeetingSLA'), subStatus('BitmapSync')].map((word) => word.length)).toEqual([10, 10]);
    for (const definition of Object.values(ALERTS)) {
      expect(names(ALERT_LEVEL)).toContain(level(definition));
      expect(names(ALERT_ENTITY)).toContain(entity(definition));
    }
  });
});

describe('numbers that clients know', () => {
  it.each([
    [VPG_STATUS, 'RpoNotMeetingSLA', 3], [VPG_STATUS, 'Recovered', 8], [VPG_SUB_STATUS, 'InitialSync', 1], [VPG_SUB_STATUS, 'FullSync', 11],
    [VPG_SUB_STATUS, 'FailingOverBeforeCommit', 15], [VPG_SUB_STATUS, 'PendingRemove', 22], [VPG_SUB_STATUS, 'DisconnectedFromPeer', 24], [VPG_SUB_STATUS, 'VmNotProtectedError', 32],
  ])('%#: %s', (of, name, number) => {
    expect(of.names[number]).toBe(name);
  });
});
