/**
 * What an import says about settings it did not carry over as they were. Foreign text in a note is cut, has no control
 * or direction characters (it is printed on terminals), and no values of settings whose name says that they are secret.
 */

export interface ImportNote {
  /** The setting in the words and the place of the foreign description, such as `devices/hostdev[1]`. */
  readonly setting: string;
  /** Its value there, cut to 120 characters. */
  readonly value: string;
  /** One sentence: why it is not carried over, or how it was changed. */
  readonly reason: string;
  /** `dropped`: the guest does not get it; `changed`: it gets something else; `hint`: something to do or to know. */
  readonly effect: 'dropped' | 'changed' | 'hint';
}

/** What may be said of a setting, in a table of reasons. */
export interface Reason {
  readonly reason: string;
  readonly effect: ImportNote['effect'];
  /** Settings with the same words here are told in one breath, under these words. */
  readonly together?: string;
}

/** Why a device of the host that a description names is not opened. */
export const blockDevice =
  'It is a block device, and is read as it is (raw), if it is on this host and nobody uses it: shut the machine down first. Where it is elsewhere, copy it into a file of this name beside the description (`qemu-img convert -O raw`).';

export const maxValueLength = 120;
const maxSettingLength = 200;
const maxNotes = 1_000;
/** More of the same kind than this are told in one note. */
const maxAlike = 8;
/** Of one group. */
const maxLines = 40;

/** Control, format (bidirectional ones among them), private and unassigned characters, line separators, lone surrogates. */
const unprintable = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\u2028\u2029]/gu;

/** One line that is safe to print, of at most `max` UTF-16 units. */
export function printable(text: string, max: number = maxValueLength): string {
  const short = text.length > max * 4 ? text.slice(0, max * 4) : text;
  const line = short.replaceAll(/[\s]+/g, ' ').trim().replaceAll(unprintable, '\u{fffd}');
  return line.length <= max ? line : `${line.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** Whether a setting of this name has a value that must not be shown. */
export function isSecret(name: string): boolean {
  return /passw|passphrase|secret|token|credential/i.test(name);
}

/** Stands for a secret. */
export const hiddenValue = '***';

/** `vncpasswd=…` in the midst of a longer value. */
const inlineSecret = /([\w-]{0,40}(?:passw|passphrase|secret|token)[\w-]{0,40}\s?=\s?)[^\s,;)\]]+/gi;

export function note(
  setting: string,
  value: string,
  reason: string,
  effect: ImportNote['effect'],
): ImportNote {
  const shown = value.slice(0, maxValueLength * 8).replaceAll(inlineSecret, `$1${hiddenValue}`);
  return { setting: printable(setting, maxSettingLength), value: printable(shown), reason, effect };
}

/** A setting that nobody read, with what a table says of it. */
export interface Leftover {
  readonly setting: string;
  /** The same without indexes: leftovers that are alike have it in common. */
  readonly kind: string;
  readonly value: string;
  /** What it is called among others that are told together. */
  readonly short: string;
  readonly because: Reason;
}

/** Notes for all leftovers: those told together by their words, many alike in one, the others each alone. */
export function notesOf(leftovers: readonly Leftover[]): readonly ImportNote[] {
  const groups = new Map<string, Leftover[]>();
  for (const each of leftovers) {
    const { together, reason, effect } = each.because;
    const key =
      together === undefined ? `kind ${effect} ${reason} ${each.kind}` : `together ${together} ${reason}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [each]);
    else group.push(each);
  }
  return fewNotes([...groups.values()].flatMap(groupNotes));
}

/** At most a thousand, the last of which tells how many more there were. */
export function fewNotes(notes: readonly ImportNote[]): readonly ImportNote[] {
  if (notes.length <= maxNotes) return notes;
  const more = `${notes.length - maxNotes} more settings`;
  const last = note(more, '', 'There are too many to name them all.', 'dropped');
  return [...notes.slice(0, maxNotes), last];
}

function groupNotes(group: readonly Leftover[]): ImportNote[] {
  const [first] = group;
  if (first === undefined) return [];
  const { together, reason, effect } = first.because;
  if (together !== undefined) {
    return listings(group.map(({ short }) => short)).map((value) => note(together, value, reason, effect));
  }
  if (group.length <= maxAlike) return group.map((each) => note(each.setting, each.value, reason, effect));
  const setting = `${first.kind} (${group.length} times)`;
  const words = group.map(({ short, value }) => (short.includes('=') ? short : value));
  return listings(words).map((value) => note(setting, value, reason, effect));
}

/** `a, b ×3, c` in as many lines of a note's length as it takes, so that none is cut away. */
function listings(words: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const word of words) {
    const shown = printable(word, 60);
    counts.set(shown, (counts.get(shown) ?? 0) + 1);
  }
  const lines: string[] = [];
  for (const [word, count] of counts) {
    const item = count === 1 ? word : `${word} ×${count}`;
    const last = lines.at(-1);
    if (last !== undefined && last.length + item.length + 2 <= maxValueLength) {
      lines[lines.length - 1] = `${last}, ${item}`;
    } else lines.push(item);
  }
  if (lines.length <= maxLines) return lines;
  return [...lines.slice(0, maxLines), `… and ${lines.length - maxLines} lines more`];
}
