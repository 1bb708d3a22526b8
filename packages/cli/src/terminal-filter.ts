/**
 * Lets a guest's log onto a terminal without letting it act there: text, newlines, tabs and colours (CSI … m) pass;
 * every other control character and escape sequence is dropped, over chunk borders too. Piped output does not come through here.
 */

type State = 'text' | 'escape' | 'csi' | 'string' | 'string-escape';

/** Longer sequences are dropped whole. */
const maxSequence = 64;

/** Filters text chunk by chunk; what a chunk leaves unfinished waits for the next. */
export function createTerminalFilter(): (text: string) => string {
  let state: State = 'text';
  let parameters = '';
  return (text) => {
    let safe = '';
    for (const character of text) {
      const code = character.codePointAt(0) ?? 0;
      switch (state) {
        case 'text':
          state = afterText(code);
          if (state === 'csi') parameters = '';
          if (state === 'text' && passes(character, code)) safe += character;
          break;
        case 'escape':
          parameters = '';
          state = afterEscape(character);
          break;
        case 'csi':
          if (code === 0x1b) {
            state = 'escape';
          } else if (code >= 0x40 && code <= 0x7e) {
            if (character === 'm' && /^[0-9;:]*$/.test(parameters)) safe += `\x1b[${parameters}m`;
            state = 'text';
          } else if (parameters.length < maxSequence) parameters += character;
          break;
        case 'string':
          // A string that never ends would hide the rest of the log: a newline ends it too.
          if (code === 0x0a) safe += character;
          if (code === 0x07 || code === 0x9c || code === 0x0a) state = 'text';
          else if (code === 0x1b) state = 'string-escape';
          break;
        case 'string-escape':
          // ST is ESC \; any other escape ends the string as well, as terminals do.
          state = character === '\\' ? 'text' : afterEscape(character);
          break;
      }
    }
    return safe;
  };
}

/** ECMA-48: 8-bit introducers count, since some terminals obey them. */
function afterText(code: number): State {
  if (code === 0x1b) return 'escape';
  if (code === 0x9b) return 'csi';
  return isStringIntroducer(code - 0x40) ? 'string' : 'text';
}

function afterEscape(character: string): State {
  if (character === '[') return 'csi';
  if (character === '\x1b') return 'escape';
  const code = character.codePointAt(0) ?? 0;
  if (isStringIntroducer(code)) return 'string';
  // Intermediate bytes (ESC ( B and the like): one more byte follows.
  return code >= 0x20 && code <= 0x2f ? 'escape' : 'text';
}

/** DCS P, SOS X, OSC ], PM ^, APC _ */
function isStringIntroducer(code: number): boolean {
  return code === 0x50 || code === 0x58 || (code >= 0x5d && code <= 0x5f);
}

function passes(character: string, code: number): boolean {
  if (code === 0x0a || code === 0x0d || code === 0x09 || code === 0x08) return true;
  return !/[\p{Cc}\p{Cf}\p{Cs}]/u.test(character);
}
