import { parseNbdUri } from '@tidemark/base';
import { z } from 'zod';
import { HypervisorError } from '../hypervisor-error.js';
import type { ApplianceSpec, VmDiskSpec, VmSpec } from '../port.js';

/** Becomes part of paths and of process lists: no separators, no control characters, no dot names. */
const nameSchema = z
  .string()
  .min(1)
  .max(80)
  .regex(/^[^/\\\p{Cc}]+$/u, 'must have no path separators and no control characters')
  .refine((name) => name.trim() === name && name !== '.' && name !== '..', 'must not be a dot name or begin or end with a space');

/** Of one VM. */
export const DISKS_MAX = 60;

const keySchema = z.string().min(1).max(200).regex(/^[^\p{Cc}]+$/u, 'must have no control characters');
const bytesSchema = z.int().min(512).max(2 ** 46).refine((bytes) => bytes % 512 === 0, 'must be a multiple of 512');

function isLocation(text: string): boolean {
  if (text.startsWith('/')) return !text.includes('\0');
  try {
    return parseNbdUri(text).exportName !== '';
  } catch {
    return false;
  }
}

const diskSpecSchema = z.object({
  id: z.string().regex(/^(scsi|ide|sata|nvme|virtio):\d{1,3}:\d{1,3}$/, 'must be like scsi:0:0'),
  sizeBytes: bytesSchema,
  datastoreId: keySchema,
  location: z.string().min(2).max(4000).refine(isLocation, 'must be an absolute path, nbd://host:port/export or nbd+unix:///export?socket=/path').optional(),
  isFile: z.boolean(),
});

export const vmSpecSchema = z.object({
  requestKey: keySchema,
  name: nameSchema,
  hostId: keySchema,
  folderId: keySchema.optional(),
  cpuCount: z.int().min(1).max(1024),
  memoryMiB: z.int().min(1).max(2 ** 24),
  guestOs: z.string().max(200),
  disks: z.array(diskSpecSchema).max(DISKS_MAX).refine((disks) => new Set(disks.map((disk) => disk.id)).size === disks.length, 'must have different ids'),
  nics: z.array(z.object({ networkId: keySchema, mac: z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, 'must be a MAC address').optional() })).max(10),
});

export const migrateSchema = z.object({ hostId: keySchema });
export const growSchema = z.object({ diskId: keySchema, sizeBytes: bytesSchema });
export const removeDiskSchema = z.object({ diskId: keySchema, isFileKept: z.boolean() });

export const applianceSpecSchema = z.object({
  vraId: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, dashes'),
  hostId: keySchema,
  datastoreId: keySchema,
  networkId: keySchema,
  name: nameSchema,
  siteId: keySchema,
  natsUrl: z.string().min(1).max(1000),
  memoryMiB: z.int().min(1).max(2 ** 24),
  enrolmentToken: z.string().min(1).max(32_768),
});

const seedVmSchema = z.object({
  name: nameSchema,
  hostName: nameSchema,
  folderName: nameSchema.optional(),
  datastoreName: nameSchema,
  networkNames: z.array(nameSchema),
  cpuCount: z.int().min(1),
  memoryMiB: z.int().min(1),
  guestOs: z.string(),
  diskBytes: z.array(bytesSchema),
  isPoweredOn: z.boolean(),
});

export const seedSchema = z.object({
  hosts: z.array(z.object({ name: nameSchema, address: z.string().min(1), nbdSocketPath: z.string().startsWith('/').max(99) })),
  datastores: z.array(z.object({ name: nameSchema, path: z.string().startsWith('/'), capacityBytes: z.int().min(1) })),
  networks: z.array(z.object({ name: nameSchema })),
  folders: z.array(z.object({ name: nameSchema })),
  vms: z.array(seedVmSchema),
});

export type HypervisorSeed = z.infer<typeof seedSchema>;
export type SeedVm = z.infer<typeof seedVmSchema>;

/** `value` in the shape of `schema`, unknown fields dropped; else HYPERVISOR_INVALID naming each wrong field. */
export function checked<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || what}: ${issue.message}`);
  throw new HypervisorError('HYPERVISOR_INVALID', `${what} refused: ${problems.join('; ')}`);
}

type WithoutUndefined<T> = T extends readonly (infer E)[]
  ? WithoutUndefined<E>[]
  : T extends object
    ? { [K in keyof T]: WithoutUndefined<Exclude<T[K], undefined>> }
    : T;

// zod gives `field?: T | undefined`, the port says `field?: T`: an absent field is never present as undefined after parsing JSON or a literal.
export const checkedVmSpec = (value: unknown): VmSpec => checked(vmSpecSchema, value, 'VM') as WithoutUndefined<z.infer<typeof vmSpecSchema>>;
export const checkedDiskSpec = (value: unknown): VmDiskSpec => checked(diskSpecSchema, value, 'disk') as WithoutUndefined<z.infer<typeof diskSpecSchema>>;
export const checkedApplianceSpec = (value: unknown): ApplianceSpec => checked(applianceSpecSchema, value, 'appliance');
