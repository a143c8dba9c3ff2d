/** Checks the topology, builds the Worker as it would be deployed, and prints the bundle's size against its ceiling. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { StartError } from "./supervisor/state-folder.ts";
import { readTopologyFile } from "./supervisor/topology-file.ts";

/** Ceiling of the edge bundle, KiB after gzip; a Worker must start within a second. */
const bundleKibMax = 300;
const outdir = "dist";

try {
  const { topology } = readTopologyFile("topology.jsonc");
  process.stdout.write(
    `topology.jsonc: ${topology.jurisdictions.size} jurisdictions, ${topology.cells.size} cells, ${topology.tenants.size} tenants\n`,
  );
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}

const wrangler = "node_modules/wrangler/bin/wrangler.js";
const built = spawnSync(
  process.execPath,
  [wrangler, "deploy", "--dry-run", "--env=", "--outdir", outdir],
  {
    encoding: "utf8",
    env: {
      ...process.env,
      WRANGLER_SEND_METRICS: "false",
      WRANGLER_SEND_ERROR_REPORTS: "false",
      WRANGLER_HIDE_BANNER: "true",
      WRANGLER_LOG_PATH: join(outdir, "logs"),
    },
  },
);
if (built.status !== 0) {
  process.stderr.write(`${built.stdout}${built.stderr}\n`);
  process.exit(1);
}
const modules = existsSync(outdir)
  ? readdirSync(outdir).filter((file) => /\.(?:js|jsonc|wasm)$/.test(file))
  : [];
const bytes = modules.map((file) => readFileSync(join(outdir, file)));
const rawKib = bytes.reduce((sum, part) => sum + part.length, 0) / 1024;
const gzipKib = gzipSync(Buffer.concat(bytes)).length / 1024;
process.stdout.write(
  `edge bundle: ${modules.length} modules, ${rawKib.toFixed(0)} KiB, ${gzipKib.toFixed(1)} KiB gzip (ceiling ${bundleKibMax})\n`,
);
if (modules.length === 0 || gzipKib > bundleKibMax) {
  process.stderr.write("The bundle is empty or larger than its ceiling.\n");
  process.exit(1);
}
