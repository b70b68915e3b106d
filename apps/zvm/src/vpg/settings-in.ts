import { parseBody, VpgSettingsApi } from '@tidemark/contracts';
import { defaultVpgSettings, type VpgSettings } from '@tidemark/vpg';
import { invalid } from '../errors.js';

const WHOLE = defaultVpgSettings({ vpgSettingsId: '', protectedSiteId: '' });

/** The settings in an action, which may come from a paired site: each field as REST takes it, and every section there. @throws ZvmError ZVM_INVALID */
export function settingsIn(input: object): VpgSettings {
  const settings = 'settings' in input ? input.settings : undefined;
  const parsed = parseBody(VpgSettingsApi, settings);
  if (!parsed.isValid) throw invalid(`settings: ${parsed.messages.join('; ')}`);
  const missing = missingIn(settings, WHOLE, 'settings');
  if (missing !== undefined) throw invalid(`${missing}: VPG settings are expected`);
  return settings as VpgSettings;
}

/** The first section of `template` that is not there; lists and sections alone, as any other value may be null. */
function missingIn(given: unknown, template: object, path: string): string | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given) !== Array.isArray(template)) return path;
  const fields = given as Readonly<Record<string, unknown>>;
  for (const [name, part] of Object.entries(template)) {
    const missing = typeof part === 'object' && part !== null ? missingIn(fields[name], part as object, `${path}.${name}`) : undefined;
    if (missing !== undefined) return missing;
  }
  return undefined;
}
