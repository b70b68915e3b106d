import { describe, expect, it } from '@jest/globals';
import { scriptEnvironment, type ScriptFacts } from './script-environment.js';

const facts: ScriptFacts = { vpgName: 'Shop', vpgId: 'v1', vmNames: ['web', 'db'], operation: 'Test', isForced: false, hypervisor: 'simulated:https://127.0.1.2:9440' };

describe('the environment of a script', () => {
  it('has the documented variables and no others', () => {
    expect(scriptEnvironment(facts, '/work')).toEqual({
      ZertoVPGName: 'Shop', ZertoInternalVpgName: 'v1', ZertoOperation: 'Test', ZertoForce: 'No', ZertoHypervisorManagerIP: '127.0.1.2', ZertoHypervisorManagerPort: '9440',
      ZertoVCenterIP: '127.0.1.2', ZertoVCenterPort: '9440', VmDisplayNames: 'web\ndb', ZertoWorkingDir: '/work',
    });
  });

  it('names are data: what a shell would act on stays, what would end a line or a string is written out', () => {
    const hostile = '$(touch x)`id`;"\'\\ é 東';
    const environment = scriptEnvironment({ ...facts, vpgName: hostile, vmNames: ['a\nb', 'c\0d', '\u202ee'] }, '/work');
    expect([environment['ZertoVPGName'], environment['VmDisplayNames']]).toEqual([hostile, 'a\\u{a}b\nc\\u{0}d\n\\u{202e}e']);
  });

  it('leaves out a list that the kernel would not take, and ZertoForce after the recovery', () => {
    const environment = scriptEnvironment({ ...facts, vmNames: Array.from({ length: 2000 }, () => '東'.repeat(20)), isForced: null }, '/work');
    expect([environment['VmDisplayNames'], environment['ZertoForce']]).toEqual([undefined, undefined]);
  });

  it.each([['vsphere:https://vcenter.example.org/sdk', 'vcenter.example.org', '443'], ['simulated:http://[::1]/', '::1', '80'], ['other:text', '', '']])('the manager of %s', (hypervisor, host, port) => {
    expect(scriptEnvironment({ ...facts, hypervisor }, '/work')).toMatchObject({ ZertoHypervisorManagerIP: host, ZertoHypervisorManagerPort: port });
  });
});
