import Table from 'cli-table3';
import { shownText } from '@tidemark/base';
import type { LabStatus, SiteStatus } from './status.js';
import { bytesText, paint } from './terminal.js';

const PLAIN_BORDERS = { chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }, style: paint.isColorSupported ? { head: ['bold'], border: ['dim'] } : { head: [], border: [] } };

/** The lab at a glance, for people. */
export function statusText(status: LabStatus): string {
  if (status.sites.length === 0) return 'no lab is up; start one: npm run lab -- up';
  return status.sites.map(siteText).join('\n\n');
}

function siteText(site: SiteStatus): string {
  const heading = `${paint.bold(`site ${site.name}`)}  ${paint.underline(site.restUrl)}  user ${site.user}, password ${site.password ?? '(not made yet)'}`;
  return [heading, processTable(site), ...(site.vms.length > 0 ? [vmTable(site)] : [])].join('\n');
}

function processTable(site: SiteStatus): string {
  const table = new Table({ head: ['process', 'pid', 'state'], ...PLAIN_BORDERS });
  for (const { name, pid, isAlive } of site.processes) table.push([name, String(pid), isAlive ? paint.green('running') : paint.red('dead')]);
  return table.toString();
}

function vmTable(site: SiteStatus): string {
  const table = new Table({ head: ['virtual machine', 'host', 'power', 'disk', 'size'], ...PLAIN_BORDERS });
  for (const vm of site.vms) {
    for (const [index, disk] of vm.disks.entries()) {
      const isFirst = index === 0;
      table.push([isFirst ? shownText(vm.name) : '', isFirst ? vm.host : '', isFirst ? vm.powerState : '', disk.nbdUri, bytesText(disk.sizeBytes)]);
    }
  }
  return table.toString();
}
