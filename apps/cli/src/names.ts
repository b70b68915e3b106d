import type { Enumeration } from '@tidemark/contracts/enumerations';

/** Of the task types that this version runs, by number. */
export const TASK_TYPE_TITLES: Readonly<Record<number, string>> = {
  0: 'create VPG', 1: 'delete VPG', 2: 'failover', 3: 'failover test', 4: 'stop failover test', 11: 'install VRA', 12: 'uninstall VRA', 14: 'update VPG',
  15: 'insert checkpoint', 17: 'promotion', 28: 'pair', 29: 'unpair', 43: 'failover', 44: 'commit failover', 45: 'roll back failover',
};

/** The word for a number of the REST API; a number that this version does not know is shown as it is. */
export const nameOf = (of: Enumeration, number: number | null | undefined): string => (number === null || number === undefined ? '–' : (of.names[number] ?? String(number)));
