// npm run dev: wirtd from the sources, started again on every change, its logs as readable lines, its state under
// .wirt/dev in the clone, so that nothing touches a wirtd of the machine. Guests that it started outlive its restarts.
// Arguments after -- are handed to wirtd. Enter starts it again; Ctrl-C ends it.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readableLine } from './log-line.ts';

const root = join(import.meta.dirname, '..');
const home = join(root, '.wirt/dev');
const socket = join(home, 'wirtd.sock');
const sources = ['api', 'qemu', 'core', 'daemon'].map((name) => join(root, 'packages', name, 'src'));
const quietMs = 150;
const stopMs = 10_000;

/** Starts wirtd with its output turned into readable lines. */
function start(): ChildProcess {
  const options = ['--state-dir', join(home, 'state'), '--run-dir', join(home, 'run'), '--socket', socket];
  const argv = [join(root, 'packages/daemon/src/main.ts'), ...options, ...process.argv.slice(2)];
  const child = spawn(process.execPath, argv, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) =>
      console.log(readableLine(line, process.stdout.isTTY)),
    );
  }
  child.once('exit', (code, signal) => say(`wirtd ended (${signal ?? `exit code ${code}`})`));
  return child;
}

function say(text: string): void {
  console.log(`dev: ${text}`);
}

/** Ends wirtd as a person would, and by force when it does not go. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const force = setTimeout(() => child.kill('SIGKILL'), stopMs);
  child.kill('SIGTERM');
  await gone;
  clearTimeout(force);
}

function main(): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  say(`wirtd runs from the sources; in another terminal: export WIRT_SOCKET=${socket}`);
  let child = start();
  let restarting = Promise.resolve();
  const restart = (why: string): void => {
    restarting = restarting.then(async () => {
      say(`${why}: starting wirtd again`);
      await stop(child);
      child = start();
    });
  };
  let timer: NodeJS.Timeout | undefined;
  const changed = (file: string | null): void => {
    if (!file?.endsWith('.ts') || /\.(test|contract)\.ts$/.test(file)) return;
    clearTimeout(timer);
    timer = setTimeout(() => restart(`${file} changed`), quietMs); // an editor saves in several steps
  };
  for (const folder of sources) watch(folder, { recursive: true }, (_event, file) => changed(file));
  if (process.stdin.isTTY) process.stdin.on('data', () => restart('asked for'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void restarting.then(() => stop(child)).then(() => process.exit(0)));
  }
}

main();
