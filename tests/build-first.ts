// Before the functional tier: brings dist/ up to date, so that the tests meet the wirt and wirtd of these sources, also
// when vitest is started by hand. Does nothing when nothing changed.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export function setup(): void {
  const root = join(import.meta.dirname, '..');
  execFileSync(process.execPath, [join(root, 'tools/build.ts')], { cwd: root, stdio: 'inherit' });
}
