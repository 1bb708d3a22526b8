import { describe, expect, it } from 'vitest';
import { parseTargets, sourceEntries } from './sources.ts';

const key = '/usr/share/keyrings/debian-archive-keyring.gpg';
const targets = (...lines: string[]) =>
  parseTargets(`${lines.map((line) => line.replaceAll(' ', '\t')).join('\n')}\n`);

describe('sourceEntries', () => {
  it('are the host’s own where it has the release, each once', () => {
    const host = targets(
      'http://mirror.example/debian/ bookworm main Debian',
      'http://mirror.example/debian/ bookworm contrib Debian',
      'http://mirror.example/debian/ bookworm main Debian',
      'http://mirror.example/debian/ bookworm-updates main Debian',
      'http://mirror.example/debian-security/ bookworm-security main Debian',
      'https://other.example/apt bookworm main Other',
    );
    expect(sourceEntries(host, 'bookworm', key)).toEqual([
      `deb [signed-by=${key}] http://mirror.example/debian/ bookworm main`,
      `deb [signed-by=${key}] http://mirror.example/debian/ bookworm-updates main`,
      `deb [signed-by=${key}] http://mirror.example/debian-security/ bookworm-security main`,
    ]);
  });

  it('are at the same addresses on a host of another Debian release, fetched lists or not', () => {
    const host = targets(
      'http://mirror.example/debian/ trixie main $(ORIGIN)',
      'http://mirror.example/debian-security/ trixie-security main $(ORIGIN)',
    );
    expect(sourceEntries(host, 'bookworm', undefined)).toEqual([
      'deb http://mirror.example/debian/ bookworm main',
      'deb http://mirror.example/debian-security/ bookworm-security main',
    ]);
  });

  it('are none on a host that knows no Debian, or none that the network reaches', () => {
    expect(
      sourceEntries(targets('http://mirror.example/ubuntu/ noble main Ubuntu'), 'bookworm', key),
    ).toEqual([]);
    expect(sourceEntries(targets('http://mirror.example/x/ stable main Browser'), 'bookworm', key)).toEqual(
      [],
    );
    expect(sourceEntries(targets('cdrom://disc/ bookworm main Debian'), 'bookworm', key)).toEqual([]);
  });
});
