import { describe, expect, it } from 'vitest';
import { findUefiImages, type UefiLookup } from './uefi-images.ts';

/** Contents by path. */
function lookup(table: Readonly<Record<string, string>>): UefiLookup {
  return {
    list: async (path) =>
      Object.keys(table)
        .filter((file) => file.startsWith(`${path}/`))
        .map((file) => file.slice(path.length + 1)),
    text: async (path) => table[path],
    exists: async (path) => table[path] !== undefined,
  };
}

interface Described {
  readonly code?: string;
  readonly vars?: string;
  readonly features?: readonly string[];
  readonly machines?: readonly string[];
  readonly architecture?: string;
  readonly mapping?: Readonly<Record<string, unknown>>;
  readonly interfaces?: readonly string[];
  readonly format?: string;
}

function descriptor(described: Described = {}): string {
  const { code = '/fw/code.fd', vars = '/fw/vars.fd', format = 'raw', features = ['acpi-s3'] } = described;
  const { architecture = 'x86_64', machines = ['pc-i440fx-*', 'pc-q35-*'] } = described;
  return JSON.stringify({
    'interface-types': described.interfaces ?? ['uefi'],
    mapping: {
      device: 'flash',
      executable: { filename: code, format },
      'nvram-template': { filename: vars, format },
      ...described.mapping,
    },
    targets: [{ architecture, machines }],
    features,
    tags: [],
  });
}

const dir = '/usr/share/qemu/firmware';
const files = { '/fw/code.fd': 'c', '/fw/vars.fd': 'v' };
const code = async (table: Readonly<Record<string, string>>, architecture = 'x86_64'): Promise<string[]> =>
  (await findUefiImages(architecture, lookup(table))).map((images) => images.code);

describe('UEFI images', () => {
  it('are those that a descriptor names', async () => {
    const found = await findUefiImages('x86_64', lookup({ ...files, [`${dir}/60-edk2.json`]: descriptor() }));
    expect(found).toEqual([{ code: '/fw/code.fd', varsTemplate: '/fw/vars.fd' }]);
  });

  it.each<[string, Described]>([
    ['Secure Boot', { features: ['secure-boot'] }],
    ['SMM', { features: ['requires-smm'] }],
    ['enrolled keys', { features: ['enrolled-keys'] }],
    ['variables kept by QEMU', { features: ['host-uefi-vars'] }],
    ['another architecture', { architecture: 'aarch64' }],
    ['other machines', { machines: ['pc-i440fx-*', 'microvm'] }],
    ['code and variables in one', { mapping: { mode: 'combined' } }],
    ['no variables', { mapping: { mode: 'stateless', 'nvram-template': undefined } }],
    ['memory', { mapping: { device: 'memory', filename: '/fw/code.fd' } }],
    ['BIOS', { interfaces: ['bios'] }],
    ['qcow2', { format: 'qcow2' }],
    ['a path that is not absolute', { code: '../fw/code.fd' }],
    ['files that are not there', { code: '/fw/gone.fd' }],
    ['variables that are not there', { vars: '/fw/gone.fd' }],
  ])('are not those of a descriptor for %s', async (_what, described) => {
    expect(await code({ ...files, [`${dir}/10-x.json`]: descriptor(described) })).toEqual([]);
  });

  it('are taken in the order of the descriptors’ names, and the administrator’s hide the distribution’s', async () => {
    const table = {
      ...files,
      '/fw/b.fd': 'b',
      '/fw/c.fd': 'c',
      [`${dir}/60-a.json`]: descriptor(),
      [`${dir}/50-b.json`]: descriptor({ code: '/fw/b.fd' }),
      '/etc/qemu/firmware/55-c.json': descriptor({ code: '/fw/c.fd' }),
    };
    expect(await code(table)).toEqual(['/fw/b.fd', '/fw/c.fd', '/fw/code.fd']);
    const hidden = {
      '/etc/qemu/firmware/50-b.json': '',
      [`/etc/qemu/firmware/60-a.json`]: descriptor({ code: '/fw/c.fd' }),
    };
    expect(await code({ ...table, ...hidden })).toEqual(['/fw/c.fd']);
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '"x"',
    '{"mapping":null,"targets":{}}',
    '{"mapping":{"device":"flash"},"targets":[null]}',
  ])('are found beside a descriptor that says nothing: %j', async (text) => {
    expect(await code({ ...files, [`${dir}/10-x.json`]: text, [`${dir}/60-a.json`]: descriptor() })).toEqual([
      '/fw/code.fd',
    ]);
  });

  it('are looked for where distributions have them, after what is described', async () => {
    const debian = { '/usr/share/OVMF/OVMF_CODE_4M.fd': '4', '/usr/share/OVMF/OVMF_VARS_4M.fd': 'v' };
    const older = { '/usr/share/OVMF/OVMF_CODE.fd': '2', '/usr/share/OVMF/OVMF_VARS.fd': 'v' };
    expect(await code({ ...debian, ...older })).toEqual([
      '/usr/share/OVMF/OVMF_CODE_4M.fd',
      '/usr/share/OVMF/OVMF_CODE.fd',
    ]);
    expect(await code({ ...files, ...debian, [`${dir}/60-a.json`]: descriptor() })).toEqual([
      '/fw/code.fd',
      '/usr/share/OVMF/OVMF_CODE_4M.fd',
    ]);
    const arm = { '/usr/share/AAVMF/AAVMF_CODE.fd': 'c', '/usr/share/AAVMF/AAVMF_VARS.fd': 'v' };
    expect(await code({ ...debian, ...arm }, 'aarch64')).toEqual(['/usr/share/AAVMF/AAVMF_CODE.fd']);
  });

  it('are for arm64 by its machine', async () => {
    const arm = descriptor({ architecture: 'aarch64', machines: ['virt-*'] });
    expect(await code({ ...files, [`${dir}/60-a.json`]: arm }, 'aarch64')).toEqual(['/fw/code.fd']);
  });

  it('are none where there is nothing, and for an architecture that no guest has', async () => {
    expect(await code({})).toEqual([]);
    expect(await code({ ...files, [`${dir}/60-a.json`]: descriptor() }, 'riscv64')).toEqual([]);
  });
});
