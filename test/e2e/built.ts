import { existsSync } from "node:fs";

const NEEDED = ["dist/demo/index.html", "dist/lib/widget.js"];

/** Playwright's global setup: these tests look at what is built, not at the sources. */
export default function requireBuild(): void {
  const missing = NEEDED.filter((file) => !existsSync(file));
  if (missing.length > 0) throw new Error(`${missing.join(" and ")} is not there: run \`npm run build\` first.`);
}
