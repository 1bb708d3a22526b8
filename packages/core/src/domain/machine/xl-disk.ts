/**
 * One entry of xl.cfg's `disk`: positional (`/dev/vg/x,raw,xvda,rw`), with keys (`format=raw, vdev=hda, target=…`), and with
 * the prefixes of old (`phy:/dev/x,xvda,w`). Pure syntax; source: xl-disk-configuration(5), libxlu_disk_l.l.
 */
export interface XlDiskSpec {
  /** '' for an empty drive. */
  readonly target: string;
  readonly format: string;
  /** `hda`, `xvda1`, `hdc`. */
  readonly vdev: string;
  readonly device: 'disk' | 'cdrom' | 'floppy';
  readonly readOnly: boolean;
  readonly shared: boolean;
  /** A program of the old host that makes the disk: `nbd`, `iscsi`, `rbd`, …. */
  readonly script?: string;
  /** Keys that say nothing of the above. */
  readonly rest: readonly string[];
}

const formatPrefixes = /^(raw|qcow2?|vhd|qed|vdi):/;
const oldPrefixes = /^(tapdisk|tap2?|aio|ioemu|file|phy|vmdk):/;
const scriptPrefixes = /^([a-z][a-z0-9+]*):/;

interface Parsed {
  target?: string;
  format?: string;
  vdev?: string;
  access?: string;
  devtype?: string;
  script?: string;
  positional: number;
  rest: string[];
}

export function parseXlDisk(spec: string): XlDiskSpec {
  const parsed: Parsed = { positional: 0, rest: [] };
  for (let left = spec.trimStart(); left !== ''; ) {
    const named = /^target\s*=\s*/.exec(left);
    if (named !== null) {
      parsed.target = left.slice(named[0].length).trim();
      const script = scriptPrefixes.exec(parsed.target)?.[1];
      if (script !== undefined) parsed.script = script;
      break;
    }
    const comma = left.indexOf(',');
    const word = (comma === -1 ? left : left.slice(0, comma)).trim();
    left = comma === -1 ? '' : left.slice(comma + 1).trimStart();
    takeWord(parsed, word);
  }
  const [vdev = '', type] = (parsed.vdev ?? '').split(':');
  const devtype = parsed.devtype ?? type ?? '';
  const access = parsed.access ?? '';
  const device = vdev.startsWith('fd') ? 'floppy' : devtype.includes('cdrom') ? 'cdrom' : 'disk';
  return {
    target: parsed.target ?? '',
    // xl's own rule: what is not said is raw.
    format: parsed.format || 'raw',
    vdev: vdev.replace(/^\/dev\//, ''),
    device,
    readOnly: /^ro?!?$/.test(access) || device === 'cdrom',
    shared: access.endsWith('!'),
    ...(parsed.script === undefined ? {} : { script: parsed.script }),
    rest: parsed.rest,
  };
}

function takeWord(parsed: Parsed, word: string): void {
  const pair = /^([a-z][a-z-]*)\s*=\s*(.*)$/i.exec(word);
  // The first word is the target even when its name has a =.
  if (pair !== null && !(parsed.positional === 0 && word.startsWith('/'))) {
    const [, key = '', value = ''] = pair;
    if (key === 'format') parsed.format = value;
    else if (key === 'vdev') parsed.vdev = value;
    else if (key === 'access') parsed.access = value;
    else if (key === 'devtype') parsed.devtype = value;
    else if (key === 'script') parsed.script = value;
    else if (key !== 'backendtype') parsed.rest.push(word);
    return;
  }
  if (/^(no-)?discard$|^direct-io-safe$|^colo/.test(word)) {
    parsed.rest.push(word);
    return;
  }
  if (word === 'cdrom') {
    parsed.devtype = 'cdrom';
    return;
  }
  const fields = ['target', 'format', 'vdev', 'access'] as const;
  const field = fields[parsed.positional];
  parsed.positional += 1;
  if (field === undefined) {
    if (word !== '') parsed.rest.push(word);
  } else if (field !== 'target') {
    if (word !== '') parsed[field] = word;
  } else takeTarget(parsed, word);
}

/** With a prefix of old there is no format after the target. */
function takeTarget(parsed: Parsed, word: string): void {
  let target = word;
  for (;;) {
    const format = formatPrefixes.exec(target)?.[1];
    const old = oldPrefixes.exec(target)?.[1];
    if (format === undefined && old === undefined) break;
    if (format !== undefined) parsed.format = format;
    if (old === 'vmdk') parsed.format = old;
    parsed.positional = 2;
    target = target.slice((format ?? old ?? '').length + 1);
  }
  const script = scriptPrefixes.exec(target)?.[1];
  if (script !== undefined) {
    parsed.script = script;
    parsed.positional = 2;
  }
  parsed.target = target;
}
