import implementation from '@chainsafe/fast-crc32c';
import type { Crc32c } from '@tidemark/base';

/** CRC-32C of the data plane: hardware instructions where the machine has them. */
export const crc32c: Crc32c = (bytes, previous = 0) => implementation.calculate(bytes, previous);
