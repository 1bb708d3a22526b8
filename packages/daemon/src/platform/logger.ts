/**
 * The log: one JSON object a line on stderr, written without blocking the event loop and flushed when the process ends
 * by itself. A reader that stands still costs lines, counted, and neither memory nor time. Making it readable for
 * people is the work of whoever reads it.
 */
import pino from 'pino';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** A file descriptor; stderr without it. */
  readonly fileDescriptor?: number;
}

/** A constant event name, and fields. */
type LogLine = (event: string, fields?: Readonly<Record<string, unknown>>) => void;

/** Core's port `Logger`. */
export type JsonLogger = Readonly<Record<LogLevel, LogLine>>;

const STDERR = 2;
/** What is kept for a reader that stands still; lines beyond are dropped. */
const MAX_BUFFERED_BYTES = 4 << 20;
const CAUSES_AT_MOST = 5;
/** Names that the line itself uses: a field of that name gets an underscore. */
const OWN_NAMES = new Set(['level', 'time', 'event']);

export function createLogger({ level, fileDescriptor = STDERR }: LoggerOptions): JsonLogger {
  const destination = pino.destination({ dest: fileDescriptor, sync: false, maxLength: MAX_BUFFERED_BYTES });
  let dropped = 0;
  destination.on('drop', () => {
    dropped += 1;
  });
  const log = pino(
    {
      level,
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: toFields },
    },
    destination,
  );
  destination.on('drain', () => {
    if (dropped === 0) return;
    const lines = dropped;
    dropped = 0;
    log.warn({ lines }, 'log.dropped');
  });
  return {
    debug: (event, fields = {}) => log.debug(fields, event),
    info: (event, fields = {}) => log.info(fields, event),
    warn: (event, fields = {}) => log.warn(fields, event),
    error: (event, fields = {}) => log.error(fields, event),
  };
}

function toFields(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      OWN_NAMES.has(name) ? `${name}_` : name,
      value instanceof Error ? describeError(value, CAUSES_AT_MOST) : value,
    ]),
  );
}

/** An error with its code, hint and causes; the stack only of one that is no error of the catalogue: a defect. */
function describeError(error: Error, causesAtMost: number): Record<string, unknown> {
  const { name, message, cause } = error;
  const isDefect = name !== 'WirtError' || ('code' in error && error.code === 'internal');
  return {
    name,
    message,
    ...('code' in error ? { code: error.code } : {}),
    ...('hint' in error && error.hint !== undefined ? { hint: error.hint } : {}),
    ...('details' in error && error.details !== undefined ? { details: error.details } : {}),
    ...(isDefect ? { stack: error.stack } : {}),
    ...(cause instanceof Error && causesAtMost > 0 ? { cause: describeError(cause, causesAtMost - 1) } : {}),
  };
}
