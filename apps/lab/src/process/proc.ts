import { readdirSync, readFileSync } from 'node:fs';

export interface ProcStat {
  readonly pid: number;
  readonly parentPid: number;
  readonly state: string;
  /** Clock ticks since boot, proc(5) field 22: with the pid it names one process for good. */
  readonly startTime: number;
}

/** Undefined when there is no such process. The command name may hold spaces and brackets: fields are counted after the last `)`. */
export function procStat(pid: number): ProcStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid, state: fields[0] ?? '', parentPid: Number(fields[1]), startTime: Number(fields[19]) };
}

/** A zombie is dead: it runs nothing, holds no port, and waits for a parent that may never ask. */
export function isRunning({ pid, startTime }: { readonly pid: number; readonly startTime: number }): boolean {
  const stat = procStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== 'Z' && stat.state !== 'X';
}

export function childrenOf(parentPid: number): ProcStat[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => procStat(Number(name)))
    .filter((stat): stat is ProcStat => stat?.parentPid === parentPid);
}
