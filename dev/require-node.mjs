// Loaded with --import before the script itself, and plain JavaScript, so that an old Node reads it and can say what is
// wrong. Node runs TypeScript without a flag since 22.18 and 23.6 (Node's changelog).
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const isNew = major >= 24 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);
if (!isNew) {
  process.stderr.write(
    [
      `Meridian's scripts need Node 22.18 or newer; this is ${process.versions.node}.`,
      "On Linux (x64, arm64) `npm ci` brings Node 24 along: start with `npm run …`, not with `node …`,",
      "and install with optional dependencies (no --omit=optional). Elsewhere install Node 24 and try again.",
      "",
    ].join("\n"),
  );
  process.exit(1);
}
