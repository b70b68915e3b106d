import { request } from 'node:https';
import { LabError } from '../lab-error.js';

/** Resolves when the ZVM answers REST calls at all: an unknown session is refused with 401. */
export function probeZvm(restUrl: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // The certificate is made by the ZVM's first start; this call carries nothing and believes nothing.
    const call = request(`${restUrl}/v1/localsite`, { rejectUnauthorized: false, timeout: 3000 }, (response) => {
      response.resume();
      const status = response.statusCode ?? 0;
      if (status > 0 && status < 500) resolve();
      else reject(new LabError('LAB_REFUSED', `${restUrl} answers ${status}`));
    });
    call.once('timeout', () => call.destroy(new LabError('LAB_TIMEOUT', `${restUrl} does not answer within 3 s`)));
    call.once('error', reject);
    call.end();
  });
}
