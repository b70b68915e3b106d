import { fdatasync } from 'node:fs';

/** Node has this one itself, with or without koffi; it is part of the port so that a failing disk can be tested. */
export const fdatasyncOf = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => fdatasync(fd, (error) => (error === null ? resolve() : reject(error))));
