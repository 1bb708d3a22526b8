/**
 * Whether cloud-init will know what a user-data is, by its beginning: what it does not know it passes over, with a line in a
 * log that nobody reads. Source: cloud-init's "User-data formats" and its handlers (22.4); for Windows cloudbase-init's.
 */

/** Beginnings, in lower case, that a handler of cloud-init answers to. */
const headers = [
  '#cloud-config',
  '#!',
  '#include',
  '#cloud-boothook',
  '#part-handler',
  // cloudbase-init's
  '#ps1',
  'rem cmd',
  '<powershell>',
  '<script>',
] as const;
const jinja = '## template: jinja';
/** cloud-init looks for it in so much of the text. */
const mimeLookBytes = 4096;

export interface UserDataProblem {
  /** Completes "The user-data …". */
  readonly what: string;
  readonly hint: string;
}

/** Undefined when cloud-init knows it. */
export function userDataProblem(text: string): UserDataProblem | undefined {
  if (text.startsWith('\uFEFF'))
    return { what: 'begins with a byte order mark', hint: 'Save it as UTF-8 without one.' };
  if (text.startsWith('\x1f'))
    return { what: 'is compressed', hint: 'Give it as it was before: gunzip FILE' };
  const start = text.trimStart().slice(0, mimeLookBytes).toLowerCase();
  if (start === '') return { what: 'is empty', hint: 'Leave it out, or begin it with #cloud-config.' };
  if (/^(content-type:|mime-version:|from )/.test(start)) return mimeProblem(start);
  if (!start.startsWith(jinja)) return headerProblem(start);
  const below = start.slice(start.indexOf('\n') + 1).trimStart();
  return start.includes('\n') && headerProblem(below) === undefined
    ? undefined
    : {
        what: `has no header below ${jinja}`,
        hint: 'Its second line says what the template makes, as in #cloud-config.',
      };
}

function headerProblem(start: string): UserDataProblem | undefined {
  if (headers.some((header) => start.startsWith(header))) return undefined;
  const what = 'has no header that cloud-init knows';
  if (/^#?[ \t]*cloud[-_ ]?(config|init)/.test(start))
    return { what, hint: 'Write its first line as #cloud-config, without a space.' };
  if (/^(---|[a-z_]+:)/.test(start)) return { what, hint: 'Put #cloud-config above it, as its first line.' };
  return { what, hint: `It begins with one of: ${headers.join(' ')} ${jinja}, or is a MIME message.` };
}

function mimeProblem(start: string): UserDataProblem | undefined {
  return start.includes('mime-version:')
    ? undefined
    : {
        what: 'is a MIME message without its version',
        hint: 'Add the line MIME-Version: 1.0 to its head; cloud-init knows it by that.',
      };
}
