/**
 * What can go wrong with qemu-img. Each class has a stable `code`; tell them apart by that or by `instanceof`.
 */

export abstract class QemuImgFailure extends Error {
  abstract readonly code: string;
  /** `info`, `convert`, ... */
  readonly subcommand: string;

  constructor(subcommand: string, message: string, options?: ErrorOptions) {
    super(`qemu-img ${subcommand}: ${message}`, options);
    this.subcommand = subcommand;
  }
}

/** qemu-img ran and failed; the message ends with its own last line. */
export class QemuImgError extends QemuImgFailure {
  override readonly name = 'QemuImgError';
  readonly code = 'qemu_img_error';
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** The end of what it wrote. */
  readonly stderr: string;

  constructor(subcommand: string, end: { exitCode: number | null; signal: string | null; stderr: string }) {
    super(
      subcommand,
      lastLine(end.stderr) ?? (end.signal ? `killed by ${end.signal}` : `exit code ${end.exitCode}`),
    );
    this.exitCode = end.exitCode ?? undefined;
    this.signal = end.signal ?? undefined;
    this.stderr = end.stderr;
  }
}

/** Not done within the deadline; it was killed. */
export class QemuImgTimeout extends QemuImgFailure {
  override readonly name = 'QemuImgTimeout';
  readonly code = 'qemu_img_timeout';
}

/** The program could not be started; `cause` is the system's error. */
export class QemuImgUnavailable extends QemuImgFailure {
  override readonly name = 'QemuImgUnavailable';
  readonly code = 'qemu_img_unavailable';
}

/** It wrote too much, or not what its documentation promises. */
export class QemuImgOutputError extends QemuImgFailure {
  override readonly name = 'QemuImgOutputError';
  readonly code = 'qemu_img_output';
}

/** The last line that is no warning, or else the last one. */
function lastLine(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim().replace(/^qemu-img: /, ''));
  const spoken = lines.filter((line) => line !== '');
  return spoken.findLast((line) => !line.startsWith('warning:')) ?? spoken.at(-1);
}
