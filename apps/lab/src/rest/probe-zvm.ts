import { request } from 'node:https';
import { LabError } from '../lab-error.js';

/** Nobody's: asking whether it is valid takes the ZVM's database. */
const NO_SESSION = '00000000-0000-4000-8000-000000000000';

/** Resolves when the ZVM answers REST calls; with `isDatabaseAsked` only when it reaches its database too. */
export function probeZvm(restUrl: string, { isDatabaseAsked }: { readonly isDatabaseAsked: boolean }): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = isDatabaseAsked ? { 'x-zerto-session': NO_SESSION } : {};
    // The certificate is made by the ZVM's first start; this call carries nothing and believes nothing.
    const call = request(`${restUrl}/v1/localsite`, { rejectUnauthorized: false, timeout: 3000, headers }, (response) => {
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
