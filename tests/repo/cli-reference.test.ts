// docs/reference/cli.md ends with the help text of every command, and docs/reference/wirtd.md with that of wirtd, as the
// programs print them. After a change: npx vitest run tests/repo/cli-reference.test.ts -u
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { readText, root } from './tree.ts';

const run = promisify(execFile);
const marker =
  '<!-- From here on: what the programs print, put here by tests/repo/cli-reference.test.ts. -->\n';
const atOnce = 4;

async function printed(program: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, WIRT_FROM_SOURCE: '1', NO_COLOR: '1' };
  return (await run(join(root, 'bin', program), args, { env })).stdout.trimEnd();
}

function fenced(text: string): string {
  return `\`\`\`text\n${text}\n\`\`\`\n`;
}

/** Names of the commands, from the lines of the overview that begin with two spaces and a word. */
function commandsIn(overview: string): string[] {
  const groups = overview
    .split('\n\n')
    .filter((block) => !/^(Options|Exit codes|Usage|More|wirt:)/.test(block));
  return groups.flatMap((block) =>
    [...block.matchAll(/^ {2}([a-z-]+(?: [a-z]+)?) {2,}/gm)].map(([, name = '']) => name),
  );
}

async function helpOfAll(names: readonly string[]): Promise<string[]> {
  const texts: string[] = [];
  const queue = names.entries();
  const worker = async (): Promise<void> => {
    for (const [at, name] of queue) texts[at] = await printed('wirt', 'help', ...name.split(' '));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return texts;
}

async function expectPage(page: string, generated: string): Promise<void> {
  const [written, ...rest] = readText(page).split(marker);
  expect(rest, `${page} has lost its marker: ${marker}`).toHaveLength(1);
  await expect(`${written}${marker}\n${generated}`).toMatchFileSnapshot(join(root, page));
}

describe('the reference', () => {
  it('of wirt has the help of every command', { timeout: 60_000 }, async () => {
    const overview = await printed('wirt', 'help');
    const names = commandsIn(overview);
    expect(names).toContain('image build');
    const texts = await helpOfAll(names);
    const sections = names.map((name, at) => `## wirt ${name}\n\n${fenced(texts[at] ?? '')}`);
    await expectPage(
      'docs/reference/cli.md',
      [`## wirt help\n\n${fenced(overview)}`, ...sections].join('\n'),
    );
  });

  it('of wirtd has its help', async () => {
    await expectPage('docs/reference/wirtd.md', fenced(await printed('wirtd', '--help')));
  });
});
