export { type Lab } from './identity.js';
export { labLayout, type LabLayout, type SiteLayout, type SiteName } from './layout.js';
export { currentStatus, labDown, labKill, labStart, labUp, parseTarget } from './lab.js';
export type { LabStatus, SiteStatus, VmStatus } from './status.js';
