import type { TokenResultApi } from '@tidemark/contracts';
import type { MadeToken } from './enrolment.service.js';

export const tokenResult = ({ text, expiresAtMs }: MadeToken): TokenResultApi => ({ Token: text, UtcExpirationDate: new Date(expiresAtMs).toISOString() });
