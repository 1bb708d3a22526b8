import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aDiskImage, anImage } from './scripted-records.ts';
import { defaultUserOf, hostKeyIn, sshArguments } from './ssh-target.ts';

const target = { host: '127.9.8.7', port: 20_022, user: 'debian', alias: 'wirt-01k', identities: ['/h/key'] };
const key = `AAAAC3NzaC1lZDI1NTE5AAAAI${'a1+/'.repeat(10)}`;

describe('the arguments of ssh', () => {
  it('accept the one host key that is known, and no other', () => {
    expect(sshArguments(target, '/tmp/x/known_hosts', ['uptime', '-p'])).toEqual([
      ...['-o', 'HostKeyAlias=wirt-01k', '-o', 'CheckHostIP=no'],
      ...['-o', 'StrictHostKeyChecking=yes', '-o', 'UserKnownHostsFile=/tmp/x/known_hosts'],
      ...['-o', 'GlobalKnownHostsFile=/dev/null', '-o', 'UpdateHostKeys=no'],
      ...['-i', '/h/key', '-p', '20022', '-l', 'debian', '127.9.8.7', '--', 'uptime', '-p'],
    ]);
  });

  it('take a new key on trust where that was asked, under a name that no other guest gets', () => {
    expect(sshArguments({ ...target, identities: [] }, undefined, [])).toEqual([
      ...['-o', 'HostKeyAlias=wirt-01k', '-o', 'CheckHostIP=no', '-o', 'StrictHostKeyChecking=accept-new'],
      ...['-p', '20022', '-l', 'debian', '127.9.8.7'],
    ]);
  });
});

describe('a host key', () => {
  it('is taken from the guest’s file without its comment', () => {
    expect(hostKeyIn(`ssh-ed25519 ${key} root@web\n`)).toBe(`ssh-ed25519 ${key}`);
    expect(hostKeyIn(`ecdsa-sha2-nistp256 ${key}=`)).toBe(`ecdsa-sha2-nistp256 ${key}=`);
  });

  it.each([
    ['two lines', `ssh-ed25519 ${key} a\nssh-ed25519 ${key} b\n`],
    ['a certificate authority', `@cert-authority * ssh-ed25519 ${key}`],
    ['another host’s line', `github.com ssh-ed25519 ${key}`],
    ['a private key', '-----BEGIN OPENSSH PRIVATE KEY-----'],
    ['a type that is unknown', `ssh-dss ${key}`],
    ['nothing', ''],
  ])('is not taken from %s', (_, text) => {
    expect(hostKeyIn(text)).toBeUndefined();
  });

  it('is one line of two words, whatever the guest has', () => {
    const lines = fc.string().map((text) => `ssh-rsa AAAA${text}`);
    fc.assert(
      fc.property(lines, (text) => {
        expect(hostKeyIn(text) ?? 'ssh-rsa AAAAx').toMatch(/^ssh-rsa AAAA[A-Za-z0-9+/=]+$/);
      }),
    );
  });
});

describe('who logs in', () => {
  it.each([
    ['debian', aDiskImage],
    ['root', anImage],
    ['root', undefined],
    ['ubuntu', { ...aDiskImage, spec: { format: 'qcow2', source: 'ubuntu:22.04' } }],
    ['fedora', { ...aDiskImage, name: 'f', spec: { format: 'raw', source: '/srv/Fedora-Cloud-42.raw.xz' } }],
    ['root', { ...aDiskImage, name: 'mine', spec: { format: 'raw', source: '/srv/disk.raw' } }],
  ])('is %s by what the image is', (user, image) => {
    expect(defaultUserOf(image as Parameters<typeof defaultUserOf>[0])).toBe(user);
  });
});
