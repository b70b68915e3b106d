/** What each `npm run …` needs on the machine, and what runs then. */

const SITE_SERVERS = ['nats-server', 'postgresql'];
const GUEST_TOOLS = ['e2fsprogs', 'qemu-utils', 'libnbd-bin'];
// curl and jq drive the guide, which a test runs as it stands; python3 and zstd read journals (tools/reader).
const INTEROP_TOOLS = [...GUEST_TOOLS, 'nbdkit', 'fio', 'curl', 'jq', 'python3', 'zstd'];

/** A site whose NATS and database are both named by the environment needs no server of its own. */
function siteServers() {
  const isGiven = (kind) => ['A', 'B'].every((site) => process.env[`TIDEMARK_${site}_${kind}_URL`]);
  return SITE_SERVERS.filter((name) => !isGiven(name === 'postgresql' ? 'DATABASE' : 'NATS'));
}

const install = (...tools) => ({ tools, mayInstall: true });
const nothing = () => install();

/** `status`, `kill`, `down` and the like must work at once, whatever is missing. */
const forLab = ([command]) => (command === 'up' || command === 'start' ? install(...siteServers(), ...GUEST_TOOLS) : nothing());

// Block devices of NBD exports, disks that fail, clocks and links of processes: what the crash loop and the database guest do to them.
const FAULT_TOOLS = ['nbdkit', 'faketime', 'iptables'];

const LANES_WITHOUT_TOOLS = ['lint', 'typecheck', 'tidy', 'unit', 'property', 'sim'];
const LANES = [...LANES_WITHOUT_TOOLS, 'integration', 'interop', 'e2e'];
function forTests(args) {
  const lanes = args.filter((word) => LANES.includes(word));
  const isQuick = lanes.length > 0 && lanes.every((lane) => LANES_WITHOUT_TOOLS.includes(lane));
  return isQuick ? nothing() : install(...SITE_SERVERS, ...INTEROP_TOOLS);
}

/** A benchmark measures the machine as it is: it names by itself which of its tools are missing. */
const forBench = nothing;

export const TARGETS = {
  demo: { command: ['apps/lab/dist/demo/main.js'], needs: () => install(...siteServers(), ...GUEST_TOOLS) },
  lab: { command: ['apps/lab/dist/main.js'], needs: forLab },
  cli: { command: ['apps/cli/dist/main.js'], needs: nothing },
  crash: { command: ['apps/lab/dist/crash/main.js'], needs: () => install(...SITE_SERVERS, ...GUEST_TOOLS, ...FAULT_TOOLS) },
  security: { command: ['apps/lab/dist/security/main.js'], needs: () => install(...SITE_SERVERS, ...GUEST_TOOLS) },
  'database-guest': { command: ['apps/lab/dist/database/main.js'], needs: () => install(...SITE_SERVERS, ...GUEST_TOOLS, ...FAULT_TOOLS) },
  bench: { command: ['bench/run.mjs'], needs: forBench },
  fuzz: { command: ['libs/testing/dist/fuzz/main.js'], needs: nothing },
  sim: { command: ['libs/testing/dist/sim/main.js'], needs: nothing },
  test: { command: ['tools/test.mjs'], needs: forTests },
  sbom: { command: ['tools/supply-chain/sbom.mjs'], needs: nothing, isBuilt: false },
  audit: { command: ['tools/supply-chain/audit.mjs'], needs: nothing, isBuilt: false },
  build: { command: ['tools/build.mjs', '--verbose'], needs: nothing, isBuilt: false },
};

export const isBuilt = (target) => target.isBuilt !== false;
