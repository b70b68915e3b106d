/** Injection token of the checked {@link VraConfig}. */
export const VRA_CONFIG = Symbol('VraConfig');
