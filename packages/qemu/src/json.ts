/**
 * JSON from a peer that may be hostile: parsing that never throws and refuses what is nested too deep, before it is
 * built. The length of the text is the caller's to limit.
 */

/** QEMU's own parser stops at 1024 levels as well. */
const MAX_JSON_DEPTH = 1024;

export type ParsedJson = { ok: true; value: unknown } | { ok: false; reason: string; cause?: unknown };

export function parseJson(text: string): ParsedJson {
  if (exceedsDepth(text, MAX_JSON_DEPTH))
    return { ok: false, reason: `is nested over ${MAX_JSON_DEPTH} levels` };
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch (cause) {
    return { ok: false, reason: 'is not JSON', cause };
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether brackets outside of strings are nested deeper than `maxDepth`. Text that is not JSON gets any answer. */
export function exceedsDepth(text: string, maxDepth: number): boolean {
  if (text.length <= maxDepth) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x22) {
      i = endOfString(text, i + 1);
    } else if (char === 0x5b || char === 0x7b) {
      if (++depth > maxDepth) return true;
    } else if (char === 0x5d || char === 0x7d) {
      depth--;
    }
  }
  return false;
}

function endOfString(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const char = text.charCodeAt(i);
    if (char === 0x5c) i++;
    else if (char === 0x22) return i;
  }
  return text.length;
}

/** The beginning of a hostile text, fit for a message: short and without control characters. */
export function excerpt(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
