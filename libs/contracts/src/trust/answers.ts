import { answerOf } from '../shape/answer.js';
import { list, shaped, text } from '../shape/checks.js';
import type { IdentityGrantV1 } from './messages.js';

const PEM_LENGTH_MAX = 16_384;
/** Two while a site changes its CA. */
const CAS_MAX = 4;

/** What the ZVM answers to an appliance that enrols, or renews itself. */
export const IDENTITY_GRANT = answerOf<IdentityGrantV1>(shaped<IdentityGrantV1>({ certificatePem: text(PEM_LENGTH_MAX), caPem: list(text(PEM_LENGTH_MAX), CAS_MAX), natsJwt: text(8192) }));
