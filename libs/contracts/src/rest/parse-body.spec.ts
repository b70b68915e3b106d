import { describe, expect, it } from '@jest/globals';
import {
  FailoverDataApi, messagesOf, PairDataApi, parseBody, toPascalKeys, VpgDeleteDataApi, VpgSettingsApi, VpgSettingsBasicApi, VpgSettingsVmApi, VraCreateDataApi,
} from './index.js';

function messages(type: new () => object, body: unknown): readonly string[] {
  const parsed = parseBody(type, body);
  return parsed.isValid ? [] : parsed.messages;
}

describe('parseBody', () => {
  it('takes an absent body for an empty one', () => {
    expect(parseBody(VpgDeleteDataApi, undefined)).toEqual({ isValid: true, value: {} });
    expect(parseBody(VpgDeleteDataApi, null)).toEqual({ isValid: true, value: {} });
  });

  it.each([['[]', []], ['text', 'text'], ['number', 3], ['true', true]])('refuses %s as a body', (_, body) => {
    expect(messages(VpgDeleteDataApi, body)).toEqual(['the body must be a JSON object']);
  });

  it('names the place of a wrong type', () => {
    expect(messages(VpgSettingsApi, { Basic: { RpoInSeconds: 'soon' } })).toEqual(['Basic.RpoInSeconds must be an integer number']);
    expect(messages(VpgSettingsApi, { Basic: 'x' })).toEqual(['Basic must be an object']);
    expect(messages(VpgSettingsApi, { Basic: [] })).toEqual(['Basic must be an object']);
    expect(messages(VpgSettingsApi, { Vms: {} })).toEqual(['Vms must be an array']);
    expect(messages(VpgSettingsApi, { Vms: [3] })).toEqual(['each value in Vms must be an object']);
    expect(messages(VpgSettingsApi, { Vms: [{ Volumes: [{ VolumeIdentifier: 7 }] }] })).toEqual(['Vms[0].Volumes[0].VolumeIdentifier must be a string']);
    expect(messages(VpgDeleteDataApi, { Force: 'yes' })).toEqual(['Force must be a boolean value']);
    expect(messages(FailoverDataApi, { VmIdentifiers: [1] })).toEqual(['each value in VmIdentifiers must be a string']);
  });

  it('asks for what must be there', () => {
    expect(messages(PairDataApi, {})).toEqual(['HostName must be a string', 'Token must be a string']);
    expect(messages(PairDataApi, { HostName: '', Token: 't' })).toEqual(['HostName must be longer than or equal to 1 characters']);
    expect(messages(PairDataApi, { HostName: 'b', Port: 70000, Token: 't' })).toEqual(['Port must not be greater than 65535']);
  });

  it.each([['number', 2], ['numeral', '2'], ['name', 'High'], ['name in lower case', 'high']])('reads an enumeration given as %s', (_, Priority) => {
    expect(parseBody(VpgSettingsBasicApi, { Priority })).toEqual({ isValid: true, value: { Priority: 'High' } });
  });

  it.each([[7], ['Urgent'], [1.5], [-1], [true], [{}]])('refuses %j as priority and says what there is', (Priority) => {
    expect(messages(VpgSettingsBasicApi, { Priority })).toEqual(['Priority must be one of 0 Low, 1 Medium, 2 High']);
  });

  it('accepts camelCase keys and both spellings of a field, drops unknown fields', () => {
    expect(parseBody(VraCreateDataApi, { hostIdentifier: 'h', datastoreIdentifier: 'd', networkIdentifier: 'n', MemoryInGB: 3, Colour: 'red' })).toEqual({
      isValid: true, value: { HostIdentifier: 'h', DatastoreIdentifier: 'd', NetworkIdentifier: 'n', MemoryInGb: 3 },
    });
  });

  it('keeps the difference between null and absent', () => {
    const parsed = parseBody(VpgSettingsBasicApi, { Name: null });
    expect(parsed).toEqual({ isValid: true, value: { Name: null } });
    expect(parsed.isValid && 'Priority' in parsed.value).toBe(false);
  });

  it('refuses what this version cannot do, rather than losing it', () => {
    expect(messages(VpgSettingsVmApi, { Volumes: [{ Rdm: { Path: '/a' } }] })).toEqual(['Volumes[0].Rdm is not supported by this version: leave it null']);
    expect(messages(VpgSettingsApi, { LongTermRetention: { Enabled: true } })).toEqual(['LongTermRetention.Enabled is not supported by this version: leave it null']);
    expect(messages(VpgSettingsApi, { LongTermRetention: { Enabled: false } })).toEqual([]);
  });

  it('refuses endless nesting and harmless is what JSON can do to prototypes', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`) as unknown;
    expect(messages(VpgSettingsApi, deep)).toEqual(['the body is nested too deeply']);
    expect(parseBody(VpgDeleteDataApi, JSON.parse('{"__proto__":{"Force":true},"constructor":1}')).isValid).toBe(true);
    expect(({} as { Force?: boolean }).Force).toBeUndefined();
  });
});

describe('toPascalKeys', () => {
  it('goes through arrays and leaves values alone', () => {
    expect(toPascalKeys({ vms: [{ vmIdentifier: 'aB' }], N: null })).toEqual({ Vms: [{ VmIdentifier: 'aB' }], N: null });
  });
});

describe('messagesOf', () => {
  it('puts the path before a message that does not name the field', () => {
    expect(messagesOf([{ property: 'A', children: [{ property: '0', constraints: { x: 'is bad' } }] }])).toEqual(['A[0]: is bad']);
  });
});
