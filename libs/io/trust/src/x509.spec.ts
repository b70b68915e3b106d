import { expect, it } from '@jest/globals';
import { readCertificates } from './x509.js';

const BLOCK = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

it.each([
  ['more than 64 KiB', ' '.repeat(65_537), /65537 characters: more than 65536/], ['17 of them', BLOCK.repeat(17), /holds 17 certificates; 1 to 16/], ['none', '', /holds 0 certificates/],
  ['what is none', BLOCK.repeat(16), /is no certificate/],
])('certificates of others: %s is refused', (_what, pem, message) => {
  expect(() => readCertificates(pem, 'what a peer sent')).toThrow(message);
});
