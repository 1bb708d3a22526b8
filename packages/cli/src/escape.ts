/**
 * Makes strings from guests, images and other users harmless on a terminal: control characters, escape sequences,
 * direction overrides and invisible formatting are shown, not obeyed. Not for console, exec and logs, which are raw.
 */

const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** `text` with every character that does not simply show itself written as an escape. */
export function visible(text: string): string {
  // Nearly all text; compiling the expression with its Unicode classes costs a millisecond of `wirt ls`.
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  return text.replace(unsafe, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return short[character] ?? (code < 0x100 ? `\\x${hex(code, 2)}` : `\\u{${code.toString(16)}}`);
  });
}

/** The same for JSON text, which stays JSON of the same value: JSON itself escapes only below U+0020. */
export function visibleJson(json: string): string {
  return json.replace(unsafe, (character) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_, at) => `\\u${hex(character.charCodeAt(at), 4)}`).join(
          '',
        ),
  );
}

/** Whether `visible` would change the text. */
export function isUnsafe(text: string): boolean {
  return text.search(unsafe) >= 0;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
