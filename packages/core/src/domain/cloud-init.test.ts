import type { Instance } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type CloudInitRequest,
  requireMetadata,
  type SeedContent,
  seedContentOf,
  seedLimitsBytes,
  utf8Length,
} from './cloud-init.ts';
import { installAgent } from './cloud-init-agent.ts';

const ed25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8RZ4mVn1eE0p4y4dF0lq1kq0mYp2e4bXx3nqvYc1Zt me@example';
const sha512 =
  '$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1';
const yescrypt = '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7';

const seed = (request: Partial<CloudInitRequest> = {}): SeedContent =>
  seedContentOf({ instanceId: '01J9ZK3W8Y7Q5T2R4M6N8P1000', hostname: 'web-1', sshKeys: [], ...request });
const cloudConfig = (text: string | undefined): unknown => {
  expect(text).toMatch(/^#cloud-config\n/);
  return JSON.parse((text ?? '').replace(/^.*\n/, ''));
};
const refusal = (request: Partial<CloudInitRequest>): { message: string; hint: string } => {
  try {
    seed(request);
  } catch (error) {
    expect(error).toMatchObject({ code: 'request.invalid' });
    return error as { message: string; hint: string };
  }
  throw new Error('it was taken');
};

describe('the seed of a guest', () => {
  it('always has user-data and meta-data, and no file that nobody asked for', () => {
    expect(Object.keys(seed())).toEqual(['user-data', 'meta-data']);
    expect(JSON.parse(seed()['meta-data'])).toEqual({
      'instance-id': '01J9ZK3W8Y7Q5T2R4M6N8P1000',
      'local-hostname': 'web-1',
    });
    expect(cloudConfig(seed()['user-data'])).toEqual({});
  });

  it('hands on user-data and network-config as they are', () => {
    const userData = '\n#!/bin/sh\n\techo "é"\r\n';
    const networkConfig = 'version: 2 # mine\n';
    expect(seed({ userData, networkConfig, passwordHash: sha512 })).toMatchObject({
      'user-data': userData,
      'network-config': networkConfig,
    });
  });

  it('names the SSH keys where every distribution looks, as lines without edges', () => {
    const keys = JSON.parse(seed({ sshKeys: [`  ${ed25519}\n`, ed25519] })['meta-data'])['public-keys'];
    expect(keys).toEqual([ed25519, ed25519]);
  });

  it('sets the password of the default user, whatever its name', () => {
    expect(cloudConfig(seed({ passwordHash: sha512 })['vendor-data'])).toEqual({
      password: sha512,
      chpasswd: { expire: false },
      ssh_pwauth: true,
    });
  });

  it('sets the password of a user by name, hashed in any way', () => {
    for (const passwordHash of [sha512, yescrypt]) {
      expect(cloudConfig(seed({ passwordHash, user: 'alice' })['vendor-data'])).toEqual({
        chpasswd: { users: [{ name: 'alice', password: passwordHash, type: 'hash' }], expire: false },
        ssh_pwauth: true,
      });
    }
  });

  it('installs the guest agent by a script of its own, which ends well, where the image may lack it', () => {
    const script = seed({ mayLackAgent: true })['vendor-data'];
    expect(script).toBe(installAgent);
    expect(script).toMatch(/^#!\/bin\/sh\n/);
    expect(script).toMatch(/\nexit 0\n$/);
    expect(script).toContain('if has qemu-ga; then\n  :\n');
    expect(script).toContain(
      'apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends qemu-guest-agent',
    );
    expect(script).toContain('systemctl --no-block start qemu-guest-agent');
    expect(seed({ mayLackAgent: false })['vendor-data']).toBeUndefined();
  });

  it('leaves the user-data as it is, with packages and scripts of its own, when it installs the agent', () => {
    const userData = '#cloud-config\npackages: [nginx]\nruncmd: [touch /done]\n';
    expect(seed({ userData, mayLackAgent: true })['user-data']).toBe(userData);
  });

  it('has the password and the guest agent in one archive, each as if it were alone', () => {
    const text = seed({ passwordHash: sha512, mayLackAgent: true })['vendor-data'] ?? '';
    expect(text).toMatch(/^#cloud-config-archive\n/);
    expect(JSON.parse(text.replace(/^.*\n/, ''))).toEqual([
      { type: 'text/cloud-config', content: seed({ passwordHash: sha512 })['vendor-data'] },
      { type: 'text/x-shellscript', content: installAgent },
    ]);
    expect(utf8Length(text)).toBeLessThan(seedLimitsBytes['vendor-data']);
  });

  it('never has a hash that cloud-init would set as the password itself', () => {
    // What cloud-init 22.4 knows as a hash in `password`.
    const known = /^\$(1|2a|2y|5|6)(\$.+){2}/;
    const word = fc.string({ unit: fc.constantFrom(...Array.from('$ay2567.:/')), maxLength: 30 });
    fc.assert(
      fc.property(fc.constantFrom('$6$', '$y$', '$2a$', '$2b$', '$5$', '$7$', ''), word, (method, rest) => {
        const passwordHash = method + rest;
        let content: SeedContent;
        try {
          content = seed({ passwordHash });
        } catch {
          return;
        }
        expect(JSON.stringify(cloudConfig(content['vendor-data']))).toContain(passwordHash);
        expect(passwordHash).toMatch(known);
        expect(passwordHash).not.toContain(':');
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a password', () => {
  it.each([
    'secret',
    '',
    sha512.slice(0, 3),
    `${sha512}:`,
    `${sha512}\n`,
    `${sha512} x`,
    '$9$a$b',
    'rqXexS6ZhobKA',
  ])('in place of its hash (%j) is refused, and not shown', (passwordHash) => {
    const { message, hint } = refusal({ passwordHash, user: 'alice' });
    expect(message).toBe('The password hash is not one of crypt(3).');
    expect(hint).toContain('openssl passwd -6');
  });

  it('hashed in a way that is for users by name only needs the name', () => {
    expect(refusal({ passwordHash: yescrypt })).toMatchObject({
      message: expect.stringContaining('$y$'),
      hint: expect.stringContaining('Name the user'),
    });
  });

  it('of a user who cannot be one is refused', () => {
    for (const user of ['', 'a:b', 'a b', '-x', 'Ä', 'a\n', 'x'.repeat(33)])
      expect(refusal({ passwordHash: sha512, user }).message).toContain('not a name');
  });

  it('is checked in no time, however long', () => {
    refusal({ passwordHash: `$6$${'$a'.repeat(100_000)} ` });
  });
});

describe('an SSH key', () => {
  it.each([
    ['ssh-rsa', `ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB${'Ab1+'.repeat(90)}`],
    ['a token’s', 'sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAA ü 🦆 "it\'s"'],
    ['ecdsa', 'ecdsa-sha2-nistp256\tAAAAE2VjZHNhLXNoYTItbmlzdHAyNTY='],
  ])('of the kind %s is taken', (_kind, key) => {
    expect(JSON.parse(seed({ sshKeys: [key] })['meta-data'])['public-keys']).toEqual([key]);
  });

  it.each([
    ['', 'no type'],
    ['AAAAC3NzaC1lZDI1NTE5AAAAIJ8RZ4mVn1eE0p4y4dF0lq1kq0mYp2e4bXx3nqvYc1Zt', 'no type'],
    ['ssh-dss AAAAB3NzaC1kc3MAAACB', 'no type'],
    ['command="x" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5', 'no type'],
    ['ssh-ed25519', 'cut off'],
    ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5A', 'cut off'],
    ['ssh-ed25519 QAAAC3NzaC1lZDI1NTE5', 'cut off'],
    [`${ed25519}\nssh-rsa AAAA`, 'one line'],
    [`${ed25519}\u2028x`, 'one line'],
    [`${ed25519}\0`, 'one line'],
    [`${ed25519} ${'x'.repeat(20_000)}`, 'one line'],
  ])('%j is refused', (key, why) => {
    expect(refusal({ sshKeys: [ed25519, key] }).message).toContain(why);
  });

  it('that is the private one is refused, and not shown', () => {
    const { message, hint } = refusal({
      sshKeys: ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n'],
    });
    expect(message + hint).not.toContain('b3Blb');
    expect(hint).toContain('.pub');
  });

  it('is one of 64 at most', () => {
    expect(refusal({ sshKeys: Array.from({ length: 65 }, () => ed25519) }).message).toContain('at most 64');
  });

  it('of the greatest size fits 64 times', () => {
    const large = `${ed25519} ${'x'.repeat(16_383 - ed25519.length)}`;
    const metaData = seed({ sshKeys: Array.from({ length: 64 }, () => large) })['meta-data'];
    expect(utf8Length(metaData)).toBeLessThan(seedLimitsBytes['meta-data']);
  });
});

describe('user-data', () => {
  it.each([
    '#cloud-config\nusers: []',
    '  \n#CLOUD-CONFIG\n',
    '#!/usr/bin/env python3',
    '#include\nhttps://example.com/x',
    '#include-once\nx',
    '#cloud-boothook\nx',
    '#cloud-config-archive\n[]',
    '#part-handler\n',
    '## template: jinja\n#cloud-config\n{}',
    '## template: jinja\r\n#!/bin/sh',
    'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n--b',
    'From nobody Mon Nov 22 2026\nContent-Type: multipart/mixed\nMIME-Version: 1.0\n',
    '#ps1_sysnative\nWrite-Host',
  ])('that begins with %j is taken', (userData) => {
    expect(seed({ userData })['user-data']).toBe(userData);
  });

  it.each([
    ['', 'empty', 'Leave it out'],
    [' \n', 'empty', 'Leave it out'],
    ['users: []', 'no header', 'Put #cloud-config above it'],
    ['---\nusers: []', 'no header', 'Put #cloud-config above it'],
    ['# cloud-config\n', 'no header', 'without a space'],
    ['#cloud_config\n', 'no header', 'without a space'],
    ['echo hello', 'no header', '#!'],
    ['\uFEFF#cloud-config\n', 'byte order mark', 'without one'],
    ['\x1f\uFFFD\b', 'compressed', 'gunzip'],
    ['## template: jinja', 'no header below', 'second line'],
    ['## template: jinja\nusers: []', 'no header below', 'second line'],
    ['Content-Type: multipart/mixed; boundary="b"\n\n--b', 'without its version', 'MIME-Version: 1.0'],
    ['#!/bin/sh\0', 'not text', undefined],
    ['#!/bin/sh \ud800', 'not text', undefined],
  ])('%j is refused, with the way out', (userData, why, hint) => {
    const refused = refusal({ userData });
    expect(refused.message).toContain(why);
    if (hint !== undefined) expect(refused.hint).toContain(hint);
  });

  it('may have 1 MiB, counted in bytes', () => {
    const limit = seedLimitsBytes['user-data'];
    expect(seed({ userData: `#!${'ü'.repeat(limit / 2 - 1)}` })['user-data']).toHaveLength(limit / 2 + 1);
    expect(refusal({ userData: `#!${'ü'.repeat(limit / 2)}` }).message).toContain('larger than 1024 KiB');
  });

  it('never breaks the judge, and what is taken stays as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
        try {
          expect(seed({ userData: text })['user-data']).toBe(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'request.invalid' });
        }
      }),
    );
  });
});

describe('a network-config', () => {
  it.each(['', ' \n', '#cloud-config\nusers: []', '#!/bin/sh'])('%j is refused', (networkConfig) => {
    expect(refusal({ networkConfig }).message).toContain('network-config');
  });

  it('may begin with a remark', () => {
    seed({ networkConfig: '# of eth0\nversion: 2' });
  });
});

describe('a host name', () => {
  it.each(['', '-a', 'a-', 'a..b', 'a_b', 'a b', 'a\n', 'x'.repeat(64), `${'a.'.repeat(32)}b`])(
    '%j is refused',
    (hostname) => {
      expect(refusal({ hostname }).message).toContain('host name');
    },
  );

  it.each(['a', 'web-1', 'web-1.example.com', '0'])('%j is taken', (hostname) => {
    expect(JSON.parse(seed({ hostname })['meta-data'])['local-hostname']).toBe(hostname);
  });
});

describe('the metadata service', () => {
  const spec = {
    machine: 'q35',
    metadata: { enabled: true, tokens: 'required', hopLimit: 1 },
    nics: [{ name: 'nic0' }],
  };
  const check = (given: object, cloudInit: object = {}) =>
    // Nothing else of the record is looked at.
    requireMetadata({ name: 'web', spec: { ...spec, ...given } as unknown as Instance['spec'] }, cloudInit);

  it('is enough for keys and user-data', () => {
    check({});
  });

  it.each([
    ['a password', {}, { passwordHash: '$6$a$b' }],
    ['network-config', {}, { networkConfig: 'version: 2' }],
    ['microvm', { machine: 'microvm' }, {}],
    ['no network card', { nics: [] }, {}],
    ['switched off', { metadata: { ...spec.metadata, enabled: false } }, {}],
  ])('is refused with %s', (what, given, cloudInit) => {
    expect(() => check(given, cloudInit)).toThrow(what);
  });
});

it('bytes of UTF-8 are counted as they are', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(utf8Length(text)).toBe(Buffer.byteLength(text));
    }),
  );
});
