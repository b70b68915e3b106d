import { describe, expect, it } from '@jest/globals';
import { brokerProblem } from './broker-problem.js';

/** As the NATS client wraps what Node says. */
const refused = (code: string): Error => new Error('connection refused', { cause: Object.assign(new Error('what OpenSSL says'), { code }) });

describe('why the broker is not believed', () => {
  it.each([
    ['CERT_HAS_EXPIRED', /^the broker is not believed: its certificate has ended; this machine's clock says 20\S+: renew the certificate, or mend the clock that is wrong$/],
    ['CERT_NOT_YET_VALID', /^the broker is not believed: its certificate has not begun; this machine's clock says 20/],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /^the broker is not believed: its certificate is not of a CA that is trusted here$/],
  ])('%s', (code, text) => {
    expect(brokerProblem(refused(code), '')).toMatch(text);
  });

  it('is not said of a broker that is not there', () => {
    expect(brokerProblem(refused('ECONNREFUSED'), '')).not.toContain('believed');
  });
});
