import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createConsoleLog } from './console-log.ts';
import { boundRunLog, openRunLog, readLastLine, readWholeLog } from './logs.ts';
import { silentLogger } from './silent-logger.fixture.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wirt-log-'));
  path = join(directory, 'console.log');
});
afterEach(() => rm(directory, { recursive: true }));

const whole = async (file = path): Promise<string> =>
  Buffer.concat(await Array.fromAsync(readWholeLog(file))).toString();

describe('the log of the console', () => {
  it('keeps the order, over the change of files, and never more than two of the limit', async () => {
    const log = createConsoleLog({ path, logger: silentLogger, maxBytes: 100 });
    const words = Array.from({ length: 60 }, (_each, index) => `word ${index}\n`);
    for (const word of words) log.append(Buffer.from(word));
    await log.close();
    expect(await readdir(directory)).toEqual(['console.log', 'console.log.1']);
    const text = await whole();
    expect(text.length).toBeLessThanOrEqual(200);
    expect(words.join('').endsWith(text)).toBe(true);
  });

  it('goes on where a former daemon stopped', async () => {
    for (const word of ['one', 'two']) {
      const log = createConsoleLog({ path, logger: silentLogger });
      log.append(Buffer.from(word));
      await log.close();
    }
    expect(await whole()).toBe('onetwo');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('warns once when it cannot be written, and drops', async () => {
    await mkdir(path);
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (event: string) => void warnings.push(event) };
    const log = createConsoleLog({ path, logger });
    log.append(Buffer.from('lost'));
    await log.close();
    log.append(Buffer.from('lost, too'));
    await log.close();
    expect(warnings).toEqual(['console.log_failed']);
  });
});

describe('the log of QEMU', () => {
  it('is one file per run, with the former run’s beside it', async () => {
    for (const run of ['first', 'second', 'third']) {
      await using file = await openRunLog(path);
      await file.write(`${run}\n`);
    }
    expect(await whole()).toBe('second\nthird\n');
    expect(await readLastLine(path)).toBe('third');
  });

  it('is cut down under a QEMU that complains without end, which goes on at the beginning', async () => {
    await using file = await openRunLog(path);
    await file.write('x'.repeat(1024 * 1024 + 1));
    await boundRunLog(path);
    await file.write('after\n');
    expect(await readFile(path, 'utf8')).toBe('after\n');
  });
});
