import { describe, expect, it } from '@jest/globals';
import { checkScripts, defaultVpgSettings, type ScriptSettings, splitParameters } from './index.js';

describe('splitParameters', () => {
  it.each<[string, string[] | undefined]>([
    ['', []],
    ['   ', []],
    ['a  b c ', ['a', 'b', 'c']],
    ['--zone "my zone" x', ['--zone', 'my zone', 'x']],
    ["'a \"b\" \\' c", ['a "b" \\', 'c']],
    ['"a \\"b\\" \\\\ \\n"', ['a "b" \\ \\n']],
    ['a"b c"d', ['ab cd']],
    ['"" \'\'', ['', '']],
    ['C:\\dns\\x.txt \\', ['C:\\dns\\x.txt', '\\']],
    ['$(touch x) `id` $HOME * ~ %A% ; | & > <', ['$(touch', 'x)', '`id`', '$HOME', '*', '~', '%A%', ';', '|', '&', '>', '<']],
    ['東京 "é è"', ['東京', 'é è']],
    ['"open', undefined],
    ["it's", undefined],
    ['"a\\"', undefined],
  ])('%j', (text, words) => expect(splitParameters(text)).toEqual(words));
});

describe('checkScripts', () => {
  const faultsOf = (preRecovery: Partial<Record<keyof ScriptSettings, unknown>>, postBackup: ScriptSettings | null = null): string[] => {
    const settings = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'A' });
    const script = { ...settings.scripting.preRecovery, ...preRecovery } as ScriptSettings;
    return checkScripts({ ...settings, scripting: { ...settings.scripting, preRecovery: script, postBackup } }).map(({ path, message }) => `${path}: ${message}`);
  };

  it('finds nothing wrong with no script, whatever stands beside it, nor with a proper one', () => {
    expect([...faultsOf({}), ...faultsOf({ command: '', parameters: '"' }), ...faultsOf({ command: 'dns.sh', parameters: '"a b" c', timeoutInSeconds: null })]).toEqual([]);
  });

  it.each<[object, RegExp]>([
    [{ command: 5 }, /PreRecovery.Command: a path/],
    [{ command: 'a\nb' }, /PreRecovery.Command: a path/],
    [{ command: 'x'.repeat(1025) }, /PreRecovery.Command: a path/],
    [{ command: 'x', parameters: '"a' }, /PreRecovery.Parameters: a quote/],
    [{ command: 'x', parameters: 'a\0' }, /PreRecovery.Parameters: a text/],
    [{ command: 'x', parameters: ['a'] }, /PreRecovery.Parameters: a text/],
    [{ command: 'x', parameters: 'a '.repeat(65) }, /PreRecovery.Parameters: 65 parameters, 64/],
    [{ command: 'x', timeoutInSeconds: 0 }, /TimeoutInSeconds: 0 given, 1 to 3600/],
    [{ command: 'x', timeoutInSeconds: 3601 }, /TimeoutInSeconds: 3601 given/],
  ])('%j is refused', (script, message) => expect(faultsOf(script)).toEqual([expect.stringMatching(message)]));

  it('refuses a script that nothing would run', () => {
    expect(faultsOf({}, { command: 'x', parameters: null, timeoutInSeconds: null })).toEqual([expect.stringContaining('PostBackup.Command: backups are not in this version')]);
  });
});
