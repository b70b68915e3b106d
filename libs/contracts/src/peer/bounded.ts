import { ValidateBy } from 'class-validator';

/** As REST bodies have them: what one site takes of people it can hand to the other. */
const DEPTH_MAX = 16;
const TEXT_LENGTH_MAX = 4096;
const LIST_MAX = 1000;
const FIELDS_MAX = 100;
/** 512 VMs of 64 disks with a dozen fields each stay below half of it. */
const VALUES_MAX = 1_000_000;

/** Whether JSON of a peer whose fields are looked at later is of a size that may be kept, shown and walked through. */
export function isBounded(value: unknown): boolean {
  let count = 0;
  const isFine = (each: unknown, depth: number): boolean => {
    count += 1;
    if (count > VALUES_MAX || depth > DEPTH_MAX) return false;
    if (typeof each === 'string') return each.length <= TEXT_LENGTH_MAX;
    if (typeof each !== 'object' || each === null) return true;
    if (Array.isArray(each)) return each.length <= LIST_MAX && each.every((item) => isFine(item, depth + 1));
    const fields = Object.entries(each);
    return fields.length <= FIELDS_MAX && fields.every(([name, field]) => name.length <= TEXT_LENGTH_MAX && isFine(field, depth + 1));
  };
  return isFine(value, 0);
}

export const IsBounded = (): PropertyDecorator =>
  ValidateBy({ name: 'isBounded', validator: { validate: isBounded, defaultMessage: (args) => `${args?.property ?? 'it'} is nested too deeply, or too large in one of its parts` } });
