/**
 * qemu-img's subcommands. Formats are always named and never guessed: a guest can write any header into a raw image.
 * Paths are those of files, and made absolute: none is taken for an option or a URL. What an image says of itself
 * (backing file, data file) is its maker's word: inspect a stranger's first, and confine even that (`launcher`). All
 * throw QemuImgError, -Timeout, -Unavailable, -OutputError, or the signal's reason. Source: QEMU docs/tools/qemu-img.
 */

import { resolve } from 'node:path';
import { isRecord, parseJson } from '../json.ts';
import { QemuImgError, QemuImgOutputError } from './errors.ts';
import { createProgressReader } from './progress.ts';
import { type QemuImgEnd, type QemuImgRunner, type QemuImgRunOptions, runQemuImg } from './run.ts';

export interface QemuImgOptions extends QemuImgRunner {
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** `qcow2`, `raw`, `vmdk`, `vpc`, `vhdx`, `vdi`, ... */
export type ImageFormat = string;

/** Options of a format, as for `-o`. */
export type ImageFormatOptions = Readonly<Record<string, string | number | boolean>>;

export interface QemuImgInfo {
  filename: string;
  format: string;
  /** Bytes that a guest sees. */
  'virtual-size': number;
  /** Bytes that the file takes. */
  'actual-size'?: number;
  'cluster-size'?: number;
  encrypted?: boolean;
  'dirty-flag'?: boolean;
  'backing-filename'?: string;
  'full-backing-filename'?: string;
  'backing-filename-format'?: string;
  'format-specific'?: { type: string; data: Record<string, unknown> };
  [member: string]: unknown;
}

export interface QemuImgTarget {
  path: string;
  format: ImageFormat;
}

/**
 * An image to read: a file and its format, or a node as for `blockdev-add`, where each layer names its driver, its file
 * and its `backing` (null for none), so that no name in a header is followed. Its paths should be absolute.
 */
export type QemuImgSource = QemuImgTarget | { blockdev: Readonly<Record<string, unknown>> };

export type InfoOptions = QemuImgOptions &
  QemuImgSource & {
    /** Also when a running QEMU holds the image (`-U`); the answer may then be out of date. */
    forceShare?: boolean | undefined;
  };

export async function qemuImgInfo(options: InfoOptions): Promise<QemuImgInfo> {
  const source = sourceArgs(options);
  const args = ['--output', 'json', ...source.format, ...when(options.forceShare, '-U'), source.name];
  const { stdout } = await succeed({ ...options, subcommand: 'info', args });
  const info = readJson('info', stdout);
  const { filename, 'virtual-size': virtualSize } = info;
  if (typeof filename !== 'string' || typeof info['format'] !== 'string' || !isSize(virtualSize)) {
    throw new QemuImgOutputError('info', 'its answer has no filename, format and virtual-size');
  }
  return { ...info, filename, format: info['format'], 'virtual-size': virtualSize };
}

export interface CreateOptions extends QemuImgOptions, QemuImgTarget {
  /** Needed unless there is a backing image, whose size is then taken. */
  sizeBytes?: number | undefined;
  formatOptions?: ImageFormatOptions | undefined;
  /** Its path is written into the image as it stands; a relative one counts from the image's folder. */
  backing?: QemuImgTarget | undefined;
}

export async function qemuImgCreate(options: CreateOptions): Promise<void> {
  const { path, format, sizeBytes, formatOptions, backing } = options;
  const args = [
    '-q',
    '-f',
    format,
    ...formatArgs(formatOptions),
    ...(backing ? ['-b', backingName(backing.path), '-F', backing.format] : []),
    resolve(path),
    ...(sizeBytes === undefined ? [] : [size(sizeBytes)]),
  ];
  await succeed({ ...options, subcommand: 'create', args });
}

export interface ConvertOptions extends QemuImgOptions {
  source: QemuImgSource;
  target: QemuImgTarget & { formatOptions?: ImageFormatOptions | undefined };
  /** Percent, 0 to 100. */
  onProgress?: ((percent: number) => void) | undefined;
  /** Compress the target, where its format can (`-c`). */
  compress?: boolean | undefined;
  /** Write into a target that exists (`-n`). */
  keepTarget?: boolean | undefined;
  /** The kept target reads as zeros throughout: zeros need not be written (`--target-is-zero`). */
  targetIsZero?: boolean | undefined;
  /** Requests under way at once, 1 to 16 (`-m`). Default 8. */
  parallel?: number | undefined;
  /** Write as soon as read, in any order; pays on block devices, and may fragment files (`-W`). */
  outOfOrder?: boolean | undefined;
  /** Zeros of at least this many bytes become holes; 0 for none (`-S`). Default 4096. */
  sparseSizeBytes?: number | undefined;
  /** Cache modes of source and target: `none`, `writeback`, `unsafe`, ... (`-T`, `-t`). */
  sourceCache?: string | undefined;
  targetCache?: string | undefined;
  /** Also when a running QEMU holds the source (`-U`); the copy is then of no one moment. */
  forceShare?: boolean | undefined;
}

/** Copies an image, its backing images merged into it. After an error or abort the unfinished target is left. */
export async function qemuImgConvert(options: ConvertOptions): Promise<void> {
  const { target, onProgress, sparseSizeBytes } = options;
  const source = sourceArgs(options.source);
  const args = [
    '-p',
    ...when(options.compress, '-c'),
    ...when(options.keepTarget, '-n'),
    ...when(options.targetIsZero, '--target-is-zero'),
    ...when(options.outOfOrder, '-W'),
    ...when(options.forceShare, '-U'),
    ...valued('-m', options.parallel),
    ...valued('-S', sparseSizeBytes === undefined ? undefined : size(sparseSizeBytes)),
    ...valued('-T', options.sourceCache),
    ...valued('-t', options.targetCache),
    ...source.format,
    '-O',
    target.format,
    ...formatArgs(target.formatOptions),
    source.name,
    resolve(target.path),
  ];
  const onStdout = createProgressReader(onProgress ?? (() => {}));
  await succeed({ ...options, subcommand: 'convert', args, onStdout });
}

export interface CheckOptions extends QemuImgOptions, QemuImgTarget {
  repair?: 'leaks' | 'all' | undefined;
  forceShare?: boolean | undefined;
}

export interface QemuImgCheck {
  /** `leaks`: space is lost, data are not. `unsupported`: the format has no checks. */
  result: 'clean' | 'leaks' | 'corrupt' | 'unsupported';
  /** qemu-img's own figures: `corruptions`, `leaks`, `leaks-fixed`, `total-clusters`, ... */
  report: Record<string, unknown>;
}

const CHECK_RESULTS: Readonly<Record<number, QemuImgCheck['result']>> = {
  0: 'clean',
  2: 'corrupt',
  3: 'leaks',
  63: 'unsupported',
};

export async function qemuImgCheck(options: CheckOptions): Promise<QemuImgCheck> {
  const { path, format, repair, forceShare } = options;
  const args = [
    '--output',
    'json',
    '-f',
    format,
    ...(repair ? ['-r', repair] : []),
    ...when(forceShare, '-U'),
    resolve(path),
  ];
  const end = await runQemuImg({ ...options, subcommand: 'check', args });
  const result = end.exitCode === null ? undefined : CHECK_RESULTS[end.exitCode];
  if (result === undefined) throw new QemuImgError('check', end);
  return { result, report: result === 'unsupported' ? {} : readJson('check', end.stdout) };
}

export interface ResizeOptions extends QemuImgOptions, QemuImgTarget {
  sizeBytes: number;
  /** Smaller loses what is at the end; without this it is refused. */
  shrink?: boolean | undefined;
}

export async function qemuImgResize(options: ResizeOptions): Promise<void> {
  const { path, format, sizeBytes, shrink } = options;
  const args = ['-q', '-f', format, ...when(shrink, '--shrink'), resolve(path), size(sizeBytes)];
  await succeed({ ...options, subcommand: 'resize', args });
}

async function succeed(options: QemuImgRunOptions): Promise<QemuImgEnd> {
  const end = await runQemuImg(options);
  // Closing an image that was written, it says this and ends as if all were well: the image is then damaged.
  if (end.exitCode !== 0 || /Failed to flush/.test(end.stderr))
    throw new QemuImgError(options.subcommand, end);
  return end;
}

function readJson(subcommand: string, text: string): Record<string, unknown> {
  const parsed = parseJson(text);
  if (!parsed.ok || !isRecord(parsed.value))
    throw new QemuImgOutputError(subcommand, 'its answer is not JSON');
  return parsed.value;
}

const when = (condition: boolean | undefined, option: string): string[] => (condition ? [option] : []);

const valued = (option: string, value: string | number | undefined): string[] =>
  value === undefined ? [] : [option, String(value)];

/** A node goes as a name of the `json:` kind; it carries its driver, so that no format is said beside it. */
function sourceArgs(source: QemuImgSource): { format: string[]; name: string } {
  if ('blockdev' in source) return { format: [], name: `json:${JSON.stringify(source.blockdev)}` };
  return { format: ['-f', source.format], name: resolve(source.path) };
}

const isSize = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function size(bytes: number): string {
  if (!isSize(bytes)) throw new RangeError(`a size must be a whole number of bytes, not ${bytes}`);
  return String(bytes);
}

/** A comma ends an option's value; two are one. */
function formatArgs(options: ImageFormatOptions = {}): string[] {
  const pairs = Object.entries(options).map(([name, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return `${name}=${text.replaceAll(',', ',,')}`;
  });
  return pairs.length === 0 ? [] : ['-o', pairs.join(',')];
}

/** QEMU takes `word:rest` for a protocol wherever a backing file is named, unless a slash comes first. */
function backingName(path: string): string {
  return /^[^/]*:/.test(path) ? `./${path}` : path;
}
