/** Version of this ZVM, told to peers and shown by /localsite. */
export const ZVM_VERSION = '0.1.0';
