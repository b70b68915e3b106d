import { dirname, join } from 'node:path';
import { LabError } from './lab-error.js';

/** The ports of the mission; every site has its own addresses, so they are the same everywhere. */
export const PORTS = {
  nats: 4222,
  natsPeer: 9081,
  internal: 9080,
  postgres: 5432,
  rest: 9669,
  hypervisor: 9440,
  vraHealth: 4006,
  vraControl: 4007,
  vraData: 4008,
  vraBackup: 9180,
} as const;

export const SITE_NAMES = ['a', 'b'] as const;
export type SiteName = (typeof SITE_NAMES)[number];

const HOSTS_PER_SITE = 2;
const FIRST_HOST_NUMBER = 11;
/** sun_path holds 108 bytes; the issue promises less than 100. */
const SOCKET_PATH_BYTES_MAX = 99;

export interface HostLayout {
  readonly name: string;
  readonly address: string;
  readonly folder: string;
  readonly nbdSocketPath: string;
  /** Name of its VRA in the process list. */
  readonly vraName: string;
}

export interface SiteLayout {
  readonly name: SiteName;
  readonly folder: string;
  /** ZVM, NATS, PostgreSQL. */
  readonly managerAddress: string;
  readonly hypervisorAddress: string;
  /** Of the backup appliance, if one was added. */
  readonly vbaAddress: string;
  readonly hosts: readonly HostLayout[];
  readonly runFolder: string;
  readonly logFolder: string;
  readonly zvmFolder: string;
  readonly hypervisorFolder: string;
  readonly vbaFolder: string;
  /** Below the site's folder, unless PostgreSQL's user cannot reach that. */
  readonly postgresFolder: string;
  readonly datastoreFolder: string;
  readonly restUrl: string;
  readonly hypervisorUrl: string;
}

export interface LabLayout {
  readonly folder: string;
  readonly subnets: Readonly<Record<SiteName, number>>;
  readonly sites: Readonly<Record<SiteName, SiteLayout>>;
}

export const DEFAULT_FOLDER = '/var/tmp/tidemark-lab';

/** `1,2` → third octets of the sites' addresses: 127.0.1.x and 127.0.2.x. */
export function parseSubnets(text: string): Record<SiteName, number> {
  const octets = text.split(',').map(Number);
  const [a, b] = octets;
  const isValid = (octet: number | undefined): octet is number => octet !== undefined && Number.isInteger(octet) && octet >= 1 && octet <= 254;
  if (octets.length !== 2 || !isValid(a) || !isValid(b) || a === b) {
    throw new LabError('LAB_FOLDER', `TIDEMARK_LAB_SUBNETS=${text}: two different numbers from 1 to 254 are expected, e.g. 101,102`);
  }
  return { a, b };
}

/** Where the agents of a host's guests listen. Short: the VM's name has to fit into a socket path as well. */
export const guestAgentFolder = (nbdSocketPath: string): string => join(dirname(nbdSocketPath), 'ga');

export function labLayout(folder: string, subnets: Readonly<Record<SiteName, number>>): LabLayout {
  return { folder, subnets, sites: { a: siteLayout(folder, 'a', subnets.a), b: siteLayout(folder, 'b', subnets.b) } };
}

function siteLayout(labFolder: string, name: SiteName, subnet: number): SiteLayout {
  const folder = join(labFolder, name);
  const managerAddress = `127.0.${subnet}.1`;
  const hypervisorAddress = `127.0.${subnet}.2`;
  return {
    name,
    folder,
    managerAddress,
    hypervisorAddress,
    vbaAddress: `127.0.${subnet}.3`,
    hosts: Array.from({ length: HOSTS_PER_SITE }, (_, index) => hostLayout(folder, { site: name, subnet, number: index + 1 })),
    runFolder: join(folder, 'run'),
    logFolder: join(folder, 'log'),
    zvmFolder: join(folder, 'zvm'),
    hypervisorFolder: join(folder, 'hypervisor'),
    vbaFolder: join(folder, 'vba'),
    postgresFolder: join(folder, 'postgres'),
    datastoreFolder: join(folder, 'datastores'),
    restUrl: `https://${managerAddress}:${PORTS.rest}`,
    hypervisorUrl: `https://${hypervisorAddress}:${PORTS.hypervisor}`,
  };
}

function hostLayout(siteFolder: string, { site, subnet, number }: { readonly site: SiteName; readonly subnet: number; readonly number: number }): HostLayout {
  const folder = join(siteFolder, `h${number}`);
  const nbdSocketPath = join(folder, 'nbd.sock');
  if (Buffer.byteLength(nbdSocketPath) > SOCKET_PATH_BYTES_MAX) {
    throw new LabError('LAB_FOLDER', `the lab's folder is too long for UNIX sockets: ${nbdSocketPath} has more than ${SOCKET_PATH_BYTES_MAX} bytes; set TIDEMARK_LAB_DIR to a shorter one`);
  }
  return { name: `host-${site}${number}`, address: `127.0.${subnet}.${FIRST_HOST_NUMBER + number - 1}`, folder, nbdSocketPath, vraName: `vra${number}` };
}

export function isSiteName(text: string): text is SiteName {
  return (SITE_NAMES as readonly string[]).includes(text);
}
