import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { VbaCreateDataApi } from '@tidemark/contracts';
import { isTrustId } from '@tidemark/trust';
import { randomInt } from 'node:crypto';
import { Clock } from '../clock.js';
import { conflict, invalid } from '../errors.js';
import { Enrolment, type MadeToken } from '../enrolment/enrolment.service.js';
import { OperationService } from '../operation/operation.service.js';
import { VbaLinkService } from './vba-link.service.js';
import type { VbaRecord } from './vba-model.js';
import { VbaStore } from './vba.store.js';

const VBA_ID_MAX = 2 ** 47;
/** Far above what a site has use for; each may hold tokens, users and connections. */
const VBAS_MAX = 64;

interface RemoveInput {
  readonly vbaId: string;
  readonly name: string;
}

/** Adding and removing backup appliances. Their machines are nobody's business here: who adds one carries the token there. */
@Injectable()
export class VbaService implements OnModuleInit {
  constructor(
    private readonly vbas: VbaStore,
    private readonly link: VbaLinkService,
    private readonly operations: OperationService,
    private readonly enrolment: Enrolment,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.operations.register<RemoveInput>({
      kind: 'removeVba',
      taskType: 'UninstallVba',
      isExclusive: false,
      done: ({ input }) => `VBA '${input.name}' is removed`,
      steps: {
        expelVba: { do: async ({ input }) => await this.enrolment.expel({ role: 'vba', instanceId: input.vbaId }) },
        forgetVba: {
          do: async ({ input }) => {
            await this.vbas.remove(input.vbaId);
            this.link.forget(input.vbaId);
          },
        },
      },
    });
  }

  /** @throws ZvmError ZVM_INVALID, ZVM_CONFLICT */
  async add({ VbaName: name, HostIdentifier: hostId, IpAddress: address }: VbaCreateDataApi, madeBy: string): Promise<{ readonly vbaId: string; readonly token: MadeToken }> {
    this.vbas.assertLoaded();
    if (!isTrustId(hostId)) throw invalid(`HostIdentifier: '${hostId}' is none: letters, digits, ".", "_" and "-" are, 64 at most`);
    const others = this.vbas.all();
    const same = others.find((vba) => vba.name === name || vba.hostId === hostId);
    if (same) throw conflict(`there is a VBA '${same.name}' on host ${same.hostId} already: make a new token for it, or remove it first`);
    if (others.length >= VBAS_MAX) throw conflict(`this site has ${VBAS_MAX} VBAs: remove one first`);
    const vba: VbaRecord = { vbaId: String(randomInt(1, VBA_ID_MAX)), name, hostId, address, state: 'Added', createdAtMs: this.clock.nowMs() };
    await this.vbas.put(vba);
    return { vbaId: vba.vbaId, token: await this.token(vba.vbaId, madeBy) };
  }

  /** For one that has not been enrolled yet, or whose identity has expired or was lost. @throws ZvmError ZVM_NOT_FOUND, ZVM_CONFLICT while it is being removed */
  async token(vbaId: string, madeBy: string): Promise<MadeToken> {
    const vba = this.vbas.get(vbaId);
    if (vba.state === 'Removing') throw conflict(`VBA '${vba.name}' is being removed`);
    return await this.enrolment.makeToken({ role: 'vba', instanceId: vbaId, hostId: vba.hostId }, madeBy);
  }

  /** Answers the task id. It gets nothing any more from this moment on, whatever becomes of the task's steps. @throws ZvmError ZVM_NOT_FOUND */
  async remove(vbaId: string, initiatedBy: string): Promise<string> {
    const vba = this.vbas.get(vbaId);
    await this.vbas.put({ ...vba, state: 'Removing' });
    const input: RemoveInput = { vbaId, name: vba.name };
    return await this.operations.begin({ kind: 'removeVba', input, vpgId: null, initiatedBy, related: {} });
  }
}
