import { seedSchema } from '@tidemark/hypervisor';
import { z } from 'zod';

const hostSchema = z.object({
  name: z.string(),
  address: z.string(),
  /** Below it: the VRA's state. */
  folder: z.string(),
  nbdSocketPath: z.string(),
  vraName: z.string(),
});

/** What the process `hypervisor` of a lab site reads at its start. */
export const hypervisorConfigSchema = z.object({
  host: z.string(),
  port: z.number(),
  statePath: z.string(),
  serverGuid: z.string(),
  /** Key and certificate, renewed by the ZVM. */
  identityFolder: z.string(),
  credentialPath: z.string(),
  seed: seedSchema,
  runFolder: z.string(),
  logFolder: z.string(),
  hosts: z.array(hostSchema),
});

export type HypervisorProcessConfig = z.infer<typeof hypervisorConfigSchema>;
export type HostConfig = z.infer<typeof hostSchema>;
