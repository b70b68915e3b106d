import { VRA_CHANGE_RECOVERY_HOST_VM_STATUS } from './enumerations.js';
import { EnumNumber, Flag, List, Section, Text, Texts } from './fields.js';

/** Which host shall recover a VM. */
export class VraVmAllocationApi {
  @Text({ isRequired: true, lengthMin: 1 }) HostIdentifier!: string;
  @Text({ isRequired: true, lengthMin: 1 }) VmIdentifier!: string;
}

/** `POST /vras/{vra}/changerecoveryvra/validate` and `execute`; without allocations: every VM that the VRA recovers, each to the recommended host. */
export class VraChangeRecoveryHostSettingsApi {
  @List(() => VraVmAllocationApi) VmsAllocations?: VraVmAllocationApi[] | null;
  /**
   * `execute` only; needed when the VRA does not answer, and the caller's word that its host is powered off or cut off from the datastore: the journals are taken
   * from it unasked. Were it to write on, journals and recovery volumes would be destroyed.
   */
  @Flag() HostIsDown?: boolean | null;
  /** Only with HostIsDown: other VRAs, by identifier, whose hosts are down too, by the caller's same word. What they recover of the same VPGs goes along: a VPG needs all its recovering VRAs. */
  @Texts() AlsoDown?: string[] | null;
}

export class VraChangeRecoveryHostConstraintsApi {
  @List(() => VraVmAllocationApi) FixedVmsAllocations?: VraVmAllocationApi[] | null;
}

/** `POST /vras/{vra}/changerecoveryvra/recommendation`; without VmsToCalculate: for every VM that the VRA recovers. */
export class VraChangeRecoveryHostRecommendationRequestApi {
  @Section(() => VraChangeRecoveryHostConstraintsApi) Constraints?: VraChangeRecoveryHostConstraintsApi | null;
  @Texts() VmsToCalculate?: string[] | null;
  /** As for `execute`. */
  @Texts() AlsoDown?: string[] | null;
}

export class VraChangeRecoveryHostVmRecommendationApi {
  @Text({ isRequired: true }) VmIdentifier!: string;
  /** null: there is none; Reason says why. */
  @Text() HostIdentifier?: string | null;
  @Text() HostName?: string | null;
  @Text({ isRequired: true }) Reason!: string;
}

export class VraChangeRecoveryHostRecommendationResultApi {
  @List(() => VraChangeRecoveryHostVmRecommendationApi, { isRequired: true }) Recommendations!: VraChangeRecoveryHostVmRecommendationApi[];
}

export class VraChangeRecoveryHostVmValidationResultApi {
  @Text({ isRequired: true }) VmIdentifier!: string;
  @Text({ isRequired: true }) HostIdentifier!: string;
  @EnumNumber(VRA_CHANGE_RECOVERY_HOST_VM_STATUS, { isRequired: true }) Status!: number;
  @Text({ isRequired: true }) Reason!: string;
}

export class VraChangeRecoveryHostValidationResultsApi {
  @List(() => VraChangeRecoveryHostVmValidationResultApi, { isRequired: true }) VmsValidationsResults!: VraChangeRecoveryHostVmValidationResultApi[];
}

/** `GET /vras/{vra}/changerecoveryvra/potentials` */
export class VraPotentialHostApi {
  @Text({ isRequired: true }) HostIdentifier!: string;
  @Text({ isRequired: true }) HostName!: string;
}
