import { readFileSync } from 'node:fs';
import { WirtError } from '@wirt/api';
import { describe, expect, it } from 'vitest';
import { helpText, optionTable, readOptions, version } from './options.ts';

function refusal(argv: string[]): WirtError {
  try {
    readOptions(argv, {});
  } catch (error) {
    if (error instanceof WirtError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

describe('the options of wirtd', () => {
  it('are taken as two words or as one with an equals sign', () => {
    expect(readOptions(['--state-dir', '/a', '--run-dir=/b'], {})).toEqual({
      'state-dir': { value: '/a', from: '--state-dir' },
      'run-dir': { value: '/b', from: '--run-dir' },
    });
  });

  it('come from the environment too, where the command line does not say otherwise', () => {
    const env = { WIRT_STATE_DIR: '/env', WIRT_RUN_DIR: '/run', WIRT_SOCKET: '' };
    expect(readOptions(['--run-dir', '/own'], env)).toEqual({
      'state-dir': { value: '/env', from: 'WIRT_STATE_DIR' },
      'run-dir': { value: '/own', from: '--run-dir' },
    });
  });

  it.each<[string[], string]>([
    [['--stat-dir', '/a'], 'There is no option --stat-dir: did you mean --state-dir?'],
    [['--zebra'], 'There is no option --zebra.'],
    [['-x'], 'There is no option -x.'],
    [['--state-dir'], '--state-dir needs a value: --state-dir DIR.'],
    [['--state-dir', '--run-dir', '/a'], '--state-dir needs a value: --state-dir DIR.'],
    [['--socket='], '--socket needs a value: --socket PATH.'],
    [['--help=yes'], '--help takes no value, and was given yes.'],
    [['start'], 'wirtd takes no arguments besides options, and was given start.'],
  ])('%j are refused with the option named', (argv, message) => {
    const error = refusal(argv);
    expect(error.code).toBe('daemon.config_invalid');
    expect(error.message).toBe(message);
  });

  it('are each explained by --help, with default and environment', () => {
    const text = helpText();
    for (const [name, spec] of Object.entries(optionTable)) {
      expect(text).toContain(`--${name}`);
      if ('env' in spec) expect(text).toContain(`Environment: ${spec.env}`);
    }
    expect(text.match(/Default: /g)?.length).toBe(
      Object.values(optionTable).filter((spec) => 'default' in spec).length,
    );
    for (const line of text.split('\n')) expect(line.length).toBeLessThan(115);
  });

  it('tell the version of the package', () => {
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(version).toBe(manifest.version);
  });
});
