import { shownText } from '@tidemark/base';

/** Of the kernel for one variable: 128 KiB, its name and a null byte included. */
const VALUE_BYTES_MAX = 100_000;

export const OPERATION_NAMES = ['Test', 'Failover', 'FailoverBeforeCommit', 'Move', 'MoveBeforeCommit'] as const;
export type ScriptOperation = (typeof OPERATION_NAMES)[number];

export interface ScriptFacts {
  readonly vpgName: string;
  readonly vpgId: string;
  readonly vmNames: readonly string[];
  readonly operation: ScriptOperation;
  /** Of the pre-recovery script; null for the other one, which has no such variable. */
  readonly isForced: boolean | null;
  /** `<kind>:<url>` */
  readonly hypervisor: string;
}

/**
 * What a script learns of its recovery. Names are values and nothing else; a line end or another character that nobody sees is written as in `\u{a}`, so that `VmDisplayNames`, one name a line, can be read by lines.
 */
export function scriptEnvironment(facts: ScriptFacts, workFolder: string): Record<string, string> {
  const { host, port } = managerOf(facts.hypervisor);
  const vmNames = facts.vmNames.map(shownText).join('\n');
  return {
    ZertoVPGName: shownText(facts.vpgName),
    ZertoInternalVpgName: shownText(facts.vpgId),
    ZertoOperation: facts.operation,
    ...(facts.isForced === null ? {} : { ZertoForce: facts.isForced ? 'Yes' : 'No' }),
    ZertoHypervisorManagerIP: host,
    ZertoHypervisorManagerPort: port,
    ZertoVCenterIP: host,
    ZertoVCenterPort: port,
    // Part of a list would look like the whole one.
    ...(new TextEncoder().encode(vmNames).length > VALUE_BYTES_MAX ? {} : { VmDisplayNames: vmNames }),
    ZertoWorkingDir: workFolder,
  };
}

function managerOf(hypervisor: string): { readonly host: string; readonly port: string } {
  const text = hypervisor.slice(hypervisor.indexOf(':') + 1);
  if (!URL.canParse(text)) return { host: '', port: '' };
  const { hostname, port, protocol } = new URL(text);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? (protocol === 'http:' ? '80' : '443') : port };
}
