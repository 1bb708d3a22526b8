/**
 * A process for tests to kill: opens the store in the directory named, says `open` (or `refused CODE`, and ends), and
 * writes transactions of three records from many callers at once: a line `acknowledged N` for each acknowledged.
 */
import { WirtError } from '@wirt/api';
import { openSqliteStore } from './open.ts';
import { silentLogger } from './silent-logger.fixture.ts';

const CALLERS = 40;

const [directory = '', firstText = '0', keepText = '20000'] = process.argv.slice(2);
const store = await openSqliteStore({
  directory,
  logger: silentLogger,
  keepChanges: Number(keepText),
}).catch((error: unknown) => {
  process.stdout.write(`refused ${error instanceof WirtError ? error.code : String(error)}\n`);
  process.exit(1);
});
process.stdout.write('open\n');

let next = Number(firstText);
async function write(): Promise<never> {
  for (;;) {
    const n = next;
    next += 1;
    const value = { n, filling: 'x'.repeat((n * 97) % 3_000) };
    await store.write(['a', 'b', 'c'].map((part) => ({ type: 'put', key: `${n}/${part}`, value })));
    process.stdout.write(`acknowledged ${n}\n`);
  }
}
await Promise.all(Array.from({ length: CALLERS }, write));
