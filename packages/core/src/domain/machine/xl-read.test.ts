import { WirtError } from '@wirt/api';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ImportNote } from './notes.ts';
import { parseXl } from './xl-config.ts';
import { parseXlDisk } from './xl-disk.ts';
import { readXl } from './xl-read.ts';

function noteOf(notes: readonly ImportNote[], setting: string): ImportNote | undefined {
  return notes.find((each) => each.setting === setting);
}

function refusal(text: string): string {
  try {
    readXl(text);
  } catch (error) {
    if (error instanceof WirtError) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'read';
}

const small = "name = 'web'\nmemory = 512\n";

describe('the syntax of xl.cfg', () => {
  it('has texts, numbers, lists over lines, comments and additions', () => {
    const settings = parseXl(
      `# comment\na = "x # no comment"; b='it\\'s \\x41\\n'\nc = 0x10 # sixteen\nd = [ 'p', # first\n  "q",\n]\ne = """x'"y"""\nd += [ 1 ]\nf = "a"\nf += "b"\ng = [ [1, 2], [] ]\n`,
    );
    expect(Object.fromEntries([...settings].map(([name, { value }]) => [name, value]))).toEqual({
      a: 'x # no comment',
      b: "it's A\n",
      c: '16',
      d: ['p', 'q', '1'],
      e: 'x\'"y',
      f: 'ab',
      g: [['1', '2'], []],
    });
    expect(settings.get('e')?.line).toBe(7);
  });

  it('joins texts that stand next to each other, and refuses endlessly many', () => {
    expect(parseXl(`a = 'x' "y"\t'z'`).get('a')?.value).toBe('xyz');
    expect(refusal(`a = ${"'x'".repeat(300_000)}`)).toMatch(/there are more than 10000 values/);
  });

  it.each([
    ['a = "x\nb = 1', 'line 1: a text in quotes does not end'],
    ['a = [ "x"\nb = 1', 'line 2: expected , or ] in a list'],
    ['a = 1\nimport os', 'line 2: expected = after import'],
    ['a = os.environ', 'line 1: expected a text in quotes, a number or a list'],
    ['a = 1 + 2', 'line 1: what follows the value of a is not understood'],
    ['\n= 3', 'line 2: expected the name of a setting'],
    [`a = ${'['.repeat(9)}`, 'nested more than 8 deep'],
    [`a = [${'1,'.repeat(10_001)}]`, 'more than 10000 values'],
  ])('refuses %j with its line', (text, sentence) => {
    expect(refusal(text)).toMatch(/^import\.malformed The xl.cfg, /);
    expect(refusal(text)).toContain(sentence);
  });

  it('refuses nothing without a sentence, whatever the text', () => {
    const pieces = fc.constantFrom(
      'a',
      '=',
      '+=',
      '[',
      ']',
      '"',
      "'",
      '"""',
      '\\',
      '\n',
      ',',
      '1',
      '0x',
      '#',
      ';',
      'disk=["',
      'vif=["',
      'memory=1',
      'target=',
      ' ',
    );
    const texts = fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 }))).map((all) => all.join(''));
    fc.assert(fc.property(texts, (text) => refusal(text) === 'read' || refusal(text).startsWith('import.')));
  });

  it('is read in a time that does not explode', () => {
    const started = performance.now();
    for (const text of [
      '\\'.repeat(200_000),
      `a="${'\\'.repeat(200_000)}`,
      `a="""${'"\\'.repeat(100_000)}`,
      'a'.repeat(200_000),
      `a=[${' '.repeat(200_000)}`,
      `vif=['${' '.repeat(200_000)}x']`,
      `disk=['${' '.repeat(200_000)}x']`,
    ]) {
      expect(refusal(text)).toMatch(/^import\./);
    }
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('a disk of xl.cfg', () => {
  const plain = { format: 'raw', device: 'disk', readOnly: false, shared: false, rest: [] };
  it.each([
    ['/dev/vg/x,raw,xvda,rw', { ...plain, target: '/dev/vg/x', vdev: 'xvda' }],
    ['phy:/dev/vg/x,xvda1,w', { ...plain, target: '/dev/vg/x', vdev: 'xvda1' }],
    ['tap:qcow2:/x.img,hda,w!', { ...plain, target: '/x.img', format: 'qcow2', vdev: 'hda', shared: true }],
    ['tap2:tapdisk:aio:/x.img,xvdb,r', { ...plain, target: '/x.img', vdev: 'xvdb', readOnly: true }],
    ['file:/x.iso,hdc:cdrom,r', { ...plain, target: '/x.iso', vdev: 'hdc', device: 'cdrom', readOnly: true }],
    [
      'format=vhd, vdev=hda, access=rw, target=/a,b=c.vhd',
      { ...plain, target: '/a,b=c.vhd', format: 'vhd', vdev: 'hda' },
    ],
    ['/x.iso,,hdc,cdrom', { ...plain, target: '/x.iso', vdev: 'hdc', device: 'cdrom', readOnly: true }],
    [
      ',empty,hdc,r,devtype=cdrom',
      { ...plain, target: '', format: 'empty', vdev: 'hdc', device: 'cdrom', readOnly: true },
    ],
    [
      '/x,qcow2,xvda,rw,backendtype=qdisk,discard',
      { ...plain, target: '/x', format: 'qcow2', vdev: 'xvda', rest: ['discard'] },
    ],
    ['nbd:10.0.0.1 20004,hda1,w', { ...plain, target: 'nbd:10.0.0.1 20004', vdev: 'hda1', script: 'nbd' }],
    ['vdev=xvda,target=rbd:pool/image', { ...plain, target: 'rbd:pool/image', vdev: 'xvda', script: 'rbd' }],
  ])('%j is understood', (spec, parsed) => {
    expect(parseXlDisk(spec)).toEqual(parsed);
  });
});

describe('a guest of xl', () => {
  it('of type hvm becomes a machine, with a note for all that is not carried over', () => {
    const { notes, ...draft } = readXl(`${small}
type = "hvm"
bios = "ovmf"
vcpus = 2
maxvcpus = 4
boot = "dc"
serial = 'pty'
uuid = "c7a5fdb2-cdaf-9455-926a-d65c16db1809"
on_poweroff = 'destroy'
vnc = 1
vncpasswd = 'hunter2'
pae = 1
sdl = 0
pci = [ '01:00.0', '01:00.1' ]
vif = [ 'mac=00:16:3E:66:92:9c,bridge=xenbr1,model=e1000,script=vif-bridge', '' ]
disk = [ 'file:/img/web.img,hda,w', '/iso/deb.iso,raw,hdc,ro,devtype=cdrom' ]
unheard_of = 'thing'
`);
    expect(draft).toEqual({
      name: 'web',
      cpus: 2,
      memoryMib: 512,
      firmware: 'uefi',
      machine: 'q35',
      disks: [
        {
          key: 'hda',
          device: 'disk',
          bus: 'sata',
          readOnly: false,
          source: { kind: 'file', name: '/img/web.img' },
          format: 'raw',
          bootOrder: 2,
        },
        {
          key: 'hdc',
          device: 'cdrom',
          bus: 'sata',
          readOnly: true,
          source: { kind: 'file', name: '/iso/deb.iso' },
          format: 'raw',
          bootOrder: 1,
        },
      ],
      nics: [{ mac: '00:16:3e:66:92:9c', model: 'e1000', network: 'xenbr1' }, { model: 'rtl8139' }],
    });
    expect(notes.map(({ setting, value, effect }) => `${effect} ${setting} = ${value}`)).toEqual([
      'changed disk[1]/vdev = hda',
      'changed vif[1]/bridge = xenbr1',
      'dropped vif[1]/script = vif-bridge',
      'changed maxvcpus = 4',
      'changed identity = uuid=c7a5fdb2-cdaf-9455-926a-d65c16db1809',
      'dropped display, input, sound, USB = vnc=1, vncpasswd=***',
      'changed features of machine and processor = pae=1',
      'changed switched off = sdl=0',
      'dropped pci = [01:00.0; 01:00.1]',
      'dropped unheard_of = thing',
    ]);
  });

  it('of type pv becomes a normal one, and is told what its disk needs', () => {
    const draft = readXl(
      `${small}bootloader = "pygrub"\nextra = "ro"\nvfb = ['type=vnc,vncpasswd=hunter2']\ndisk = ['phy:/dev/vg/web,xvda1,w']\nvif = ['']\n`,
    );
    expect(draft).toMatchObject({
      firmware: 'bios',
      disks: [{ key: 'xvda1', bus: 'virtio' }],
      nics: [{ model: 'virtio' }],
    });
    expect(noteOf(draft.notes, 'type')).toMatchObject({ value: 'pv', effect: 'changed' });
    expect(noteOf(draft.notes, 'bootloader')).toMatchObject({ effect: 'hint' });
    expect(noteOf(draft.notes, 'bootloader')?.reason).toContain('grub-install');
    expect(draft.notes.find(({ reason }) => reason.includes('partition table'))?.value).toBe('xvda1');
    expect(noteOf(draft.notes, 'extra')?.effect).toBe('dropped');
    expect(JSON.stringify(draft.notes)).not.toContain('hunter2');
  });

  it.each([
    ["builder = 'hvm'", 'hvm'],
    ["type = 'pvh'", 'pvh'],
    ["builder = 'generic'", 'pv'],
  ])('with %s is of type %s', (line, type) => {
    const { notes } = readXl(`${small}${line}\n`);
    expect(noteOf(notes, 'type')?.value).toBe(type === 'hvm' ? undefined : type);
  });

  it('keeps a note of each disk that it leaves out', () => {
    const disks = ['nbd:10.0.0.1 1,xvdb,w', '/x.qed,qed,xvdc,rw', '/floppy,raw,fda,rw', ',raw,xvdd,rw'];
    const draft = readXl(`${small}disk = ${JSON.stringify(disks)}\n`);
    expect(draft.disks).toEqual([]);
    const left = draft.notes.filter(
      ({ setting, effect }) => setting.startsWith('disk[') && effect === 'dropped',
    );
    expect(left.map(({ value }) => value)).toEqual(disks);
  });

  it('is refused with a path that is none, without memory, or of an unknown type', () => {
    expect(refusal(`${small}disk = ['web.img,raw,xvda,rw']`)).toContain('is not a plain absolute path');
    expect(refusal(`${small}disk = ['/img/../../etc/shadow,raw,xvda,rw']`)).toContain(
      'is not a plain absolute path',
    );
    expect(refusal("name = 'web'")).toContain('how much memory');
    expect(refusal(`${small}type = 'jail'`)).toContain('of type "jail"');
    expect(refusal(`${small}memory = '1e3'`)).toContain('no whole number');
  });
});
