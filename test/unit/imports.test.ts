import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { expect, test } from "vitest";

/** Who may import whom; a room may always import itself. The same table is in ARCHITECTURE.md. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  "src/base": [],
  "src/gpu": ["src/base"],
  "src/kernels": ["src/base", "src/gpu", "shaders"],
  "src/ops/ops.ts": ["src/base"],
  "src/ops/cpu": ["src/base", "src/format", "src/ops/ops.ts"],
  "src/ops/gpu": ["src/base", "src/gpu", "src/kernels", "src/ops/ops.ts"],
  "src/layers": ["src/base", "src/ops/ops.ts"],
  "src/models": ["src/base", "src/layers", "src/ops/ops.ts"],
  "src/text": ["src/base"],
  "src/format": ["src/base"],
  "src/source": ["src/base", "src/format"],
  "src/store": ["src/base"],
  "src/experts": ["src/base", "src/ops/ops.ts"],
  "src/engine": [
    "src/base",
    "src/ops",
    "src/layers",
    "src/models",
    "src/text",
    "src/format",
    "src/source",
    "src/store",
    "src/experts",
  ],
  "src/worker": ["src/base", "src/engine"],
  "src/index.ts": ["src/base", "src/engine", "src/source", "src/worker"],
  "src/widget": ["src/index.ts"],
  demo: ["src/index.ts", "src/widget"],
};

/** Packages that only these rooms use. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "@huggingface/tokenizers": ["src/text"],
  "@huggingface/jinja": ["src/text"],
  idb: ["src/store"],
};

const root = join(import.meta.dirname, "../..");
const inside = (file: string, room: string) => file === room || file.startsWith(`${room}/`);
const roomOf = (file: string) => Object.keys(ARROWS).find((room) => inside(file, room));

/** The file of the project that an import means. */
const targetOf = (file: string, target: string) =>
  posix.normalize(relative(root, join(root, dirname(file), target.replace(/\?.*$/, ""))));

const files = ["src", "demo"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => posix.join(folder, name)),
);

const imports = files.flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  const statements = text.matchAll(/^(?:import|export)(?:[\w\s{},*]*\bfrom)?\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm);
  return [...statements].map(([, target, dynamic]) => ({ file, target: (target ?? dynamic)! }));
});

test("every file lies in a room", () => {
  expect(imports.map(({ file }) => file).filter((file) => !roomOf(file))).toEqual([]);
});

test("imports follow the arrows", () => {
  const wrong = imports.filter(({ file, target }) => {
    if (!target.startsWith(".")) return false;
    const to = targetOf(file, target);
    const room = roomOf(file)!;
    return !inside(to, room) && !ARROWS[room]!.some((allowed) => inside(to, allowed));
  });
  expect(wrong).toEqual([]);
});

test("packages stay in their rooms", () => {
  const wrong = imports.filter(({ file, target }) => {
    if (target.startsWith(".") || target.startsWith("node:")) return false;
    return !PACKAGES[target]?.some((room) => inside(file, room));
  });
  expect(wrong).toEqual([]);
});

test("no file imports itself by way of others, not even types", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const follow = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file].join(" -> "));
    if (at >= 0 || done.has(file)) return;
    for (const { file: from, target } of imports)
      if (from === file && target.startsWith(".")) follow(targetOf(file, target), [...path, file]);
    done.add(file);
  };
  for (const file of files) follow(file, []);
  expect(circles).toEqual([]);
});
