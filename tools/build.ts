// Bundles the sources into dist/: wirt.mjs, wirtd.mjs and one file per worker thread, with what they load lazily in
// chunks of their own. Does nothing when the sources are those of the last build. Files are replaced one by one,
// entries last, and the chunks of the build before are kept: a wirtd that runs from dist/ can still load them.
import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, sep } from 'node:path';
import type { Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');
const stampPath = join(dist, '.stamp');

const entries = { wirt: 'packages/cli/src/main.ts', wirtd: 'packages/daemon/src/main.ts' };

interface Stamp {
  /** Of everything that the bundles are made from. */
  hash: string;
  /** Files of this build and of the one before it. */
  files: string[];
  earlier: string[];
}

/** Hash over the text of all sources, manifests, the lock file and this script. */
function hashSources(): string {
  const hash = createHash('sha256');
  const own = relative(root, import.meta.filename);
  const files = globSync(
    ['packages/*/src/**/*.ts', 'packages/*/package.json', 'package-lock.json', 'openapi/wirt.json', own],
    {
      cwd: root,
    },
  );
  for (const file of files.sort()) {
    if (!file.endsWith('.test.ts')) hash.update(`${file}\0`).update(readFileSync(join(root, file)));
  }
  return hash.digest('hex');
}

function readStamp(): Stamp | undefined {
  try {
    return JSON.parse(readFileSync(stampPath, 'utf8')) as Stamp;
  } catch {
    return undefined; // never built, or a damaged stamp: build
  }
}

const workerUrl = /new URL\(\s*'(\.[^']*\.ts)'\s*,\s*import\.meta\.url\s*,?\s*\)/g;

/** drivers/store-sqlite/worker.ts -> store-worker */
function workerName(file: string): string {
  return `${basename(dirname(file)).split('-')[0]}-${basename(file, '.ts')}`;
}

/** Every worker becomes an entry of its own, beside the chunk that starts it. */
function findWorkers(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const file of globSync('packages/*/src/**/*.ts', { cwd: root })) {
    if (file.endsWith('.test.ts') || file.endsWith('.contract.ts')) continue;
    for (const [, target = ''] of readFileSync(join(root, file), 'utf8').matchAll(workerUrl)) {
      const worker = join(dirname(file), target);
      found[workerName(worker)] = worker;
    }
  }
  return found;
}

const workerUrls: Plugin = {
  name: 'worker-urls',
  setup(build) {
    build.onLoad({ filter: /packages\/.*\.ts$/ }, ({ path }) => {
      const contents = readFileSync(path, 'utf8').replace(
        workerUrl,
        (_all, target: string) =>
          `new URL('./${workerName(join(dirname(path), target))}.mjs', import.meta.url)`,
      );
      return { contents, loader: 'ts' };
    });
  },
};

/** What bundled CommonJS expects to find around itself. */
const banner = `import { createRequire as __createRequire } from 'node:module';
const require = __createRequire(import.meta.url), __filename = import.meta.filename, __dirname = import.meta.dirname;`;

async function bundle(): Promise<Map<string, Uint8Array>> {
  const { build } = await import('esbuild');
  const result = await build({
    absWorkingDir: root,
    entryPoints: { ...entries, ...findWorkers() },
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // Node has it. What esbuild makes of it throws, in a loop, the error of the round before once more.
    supported: { using: true },
    outdir: dist,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunk-[hash]',
    banner: { js: banner },
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'linked',
    // One character above 0xff makes V8 keep a chunk's whole source at two bytes each.
    charset: 'ascii',
    plugins: [workerUrls],
    logLevel: 'warning',
  });
  const outputs = new Map(result.outputFiles.map(({ path, contents }) => [relative(dist, path), contents]));
  return outputs.set('openapi.json', readFileSync(join(root, 'openapi/wirt.json'))); // wirtd serves it
}

function install(outputs: ReadonlyMap<string, Uint8Array>, hash: string, before: Stamp | undefined): void {
  mkdirSync(dist, { recursive: true });
  const files = [...outputs.keys()].sort(
    (a, b) => Number(b.startsWith('chunk-')) - Number(a.startsWith('chunk-')),
  );
  for (const file of files) replaceFile(join(dist, file), outputs.get(file) ?? new Uint8Array());
  const earlier = (before?.files ?? []).filter((file) => !outputs.has(file));
  const stamp: Stamp = { hash, files, earlier };
  for (const file of before?.earlier ?? []) {
    if (!outputs.has(file) && !file.includes(sep)) rmSync(join(dist, file), { force: true });
  }
  replaceFile(stampPath, `${JSON.stringify(stamp)}\n`);
}

function replaceFile(path: string, contents: string | Uint8Array): void {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

const startedAt = performance.now();
const hash = hashSources();
const before = readStamp();
if (before?.hash === hash && !process.argv.includes('--force')) {
  console.log('build: dist is up to date');
} else {
  const outputs = await bundle();
  install(outputs, hash, before);
  const kib = Math.round([...outputs.values()].reduce((sum, { byteLength }) => sum + byteLength, 0) / 1024);
  const ms = Math.round(performance.now() - startedAt);
  console.log(
    `build: dist holds wirt.mjs, wirtd.mjs and ${outputs.size - 2} more files, ${kib} KiB, in ${ms} ms`,
  );
}
