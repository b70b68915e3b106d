export { describeHypervisorManager, type HypervisorUnderTest } from './describe-hypervisor-manager.js';
