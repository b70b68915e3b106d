import { basename, join } from 'node:path';
import { PORTS, type SiteLayout, type SiteName } from '../layout.js';
import type { Listener } from './listeners.js';

export type PortKind = 'nats' | 'natsPeer' | 'postgres' | 'rest' | 'internal' | 'hypervisor' | 'vraHealth' | 'vraControl' | 'vraData' | 'backup' | 'nbd';

/** A listener that this lane knows how to attack. */
export interface Port {
  readonly kind: PortKind;
  readonly site: SiteName;
  /** `a/vra1 4008`: names the port in the table. */
  readonly name: string;
  readonly place: string;
  readonly port: number;
}

interface Known {
  readonly kind: PortKind;
  readonly process: RegExp;
  readonly matches: (listener: Listener, site: SiteLayout) => boolean;
}

const tcp = (port: number): Known['matches'] => (listener) => listener.kind === 'tcp' && listener.port === port;

/** Every port that a process of a lab may have. What is not here fails the lane: whoever adds a port says here what may be done at it. */
const KNOWN: readonly Known[] = [
  { kind: 'nats', process: /^nats$/, matches: tcp(PORTS.nats) },
  { kind: 'natsPeer', process: /^nats$/, matches: tcp(PORTS.natsPeer) },
  { kind: 'postgres', process: /^postgres$/, matches: (listener, site) => listener.kind === 'unix' && listener.place === join(site.postgresFolder, `.s.PGSQL.${PORTS.postgres}`) },
  { kind: 'rest', process: /^zvm$/, matches: tcp(PORTS.rest) },
  { kind: 'internal', process: /^zvm$/, matches: tcp(9080) },
  { kind: 'hypervisor', process: /^hypervisor$/, matches: tcp(PORTS.hypervisor) },
  { kind: 'vraHealth', process: /^(vra\d+|vba)$/, matches: tcp(PORTS.vraHealth) },
  { kind: 'vraControl', process: /^vra\d+$/, matches: tcp(PORTS.vraControl) },
  { kind: 'vraData', process: /^vra\d+$/, matches: tcp(PORTS.vraData) },
  { kind: 'backup', process: /^vra\d+$/, matches: tcp(PORTS.vraBackup) },
  { kind: 'nbd', process: /^vra\d+$/, matches: (listener, site) => listener.kind === 'unix' && site.hosts.some(({ nbdSocketPath }) => nbdSocketPath === listener.place) },
];

/** The port behind a listener; undefined: nobody has said what it is for. Listening on all addresses is never what a lab does. */
export function portOf(listener: Listener, site: SiteLayout): Port | undefined {
  const process = listener.process.slice(listener.process.indexOf('/') + 1);
  const known = KNOWN.find((candidate) => candidate.process.test(process) && candidate.matches(listener, site));
  if (!known || isEverywhere(listener)) return undefined;
  return { kind: known.kind, site: site.name, name: `${listener.process} ${listener.kind === 'unix' ? basename(listener.place) : listener.port}`, place: listener.place, port: listener.port };
}

const isEverywhere = ({ kind, place }: Listener): boolean => kind !== 'unix' && /^[0.:]+$/.test(place);
