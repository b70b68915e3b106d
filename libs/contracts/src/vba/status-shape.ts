import { instant, shaped, text } from '../shape/checks.js';
import { identityStatus } from '../vra/status-shape.js';
import type { VbaStatusV1 } from './messages.js';

const vbaStatus = shaped<VbaStatusV1>({ vbaId: text(64), hostId: text(200), version: text(50), address: text(255), startedAtMs: instant, identity: identityStatus });

/** Whether what a VBA published can be worked with. */
export const isVbaStatus = (value: unknown): value is VbaStatusV1 => vbaStatus(value);
