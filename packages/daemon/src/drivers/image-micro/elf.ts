// Reads of an ELF file (64-bit, little-endian: amd64 and arm64) the little that building an image needs: the shared
// libraries it names, its program interpreter, and a section by name. Every offset is checked against the file.
// Source: elf(5), "System V ABI", chapters 4 and 5.

export interface ElfLinkage {
  /** DT_NEEDED, in the file's order. */
  readonly needed: readonly string[];
  /** PT_INTERP: the dynamic loader's path. Undefined for libraries and static programs. */
  readonly interpreter: string | undefined;
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
}

/** Throws a `RangeError` when `file` is not a 64-bit little-endian ELF file, or is cut short. */
export function readLinkage(file: Buffer): ElfLinkage {
  const segments = readSegments(file);
  const interpreter = segments.find((segment) => segment.type === PT_INTERP);
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  return {
    needed: dynamic === undefined ? [] : readNeeded(file, segments, dynamic),
    interpreter: interpreter === undefined ? undefined : readText(file, interpreter.offset),
  };
}

/** The bytes of the first section called `name`; undefined when there is none. */
export function readSection(file: Buffer, name: string): Buffer | undefined {
  checkHeader(file);
  const tableOffset = readOffset(file, 40);
  const entrySize = file.readUInt16LE(58);
  const count = file.readUInt16LE(60);
  const section = (index: number) => {
    const at = tableOffset + index * entrySize;
    return {
      name: file.readUInt32LE(at),
      offset: readOffset(file, at + 24),
      size: readOffset(file, at + 32),
    };
  };
  if (count === 0) return undefined;
  const names = section(file.readUInt16LE(62));
  for (let index = 0; index < count; index += 1) {
    const { name: nameAt, offset, size } = section(index);
    if (readText(file, names.offset + nameAt) === name) return slice(file, offset, size);
  }
  return undefined;
}

function readSegments(file: Buffer): readonly Segment[] {
  checkHeader(file);
  const tableOffset = readOffset(file, 32);
  const entrySize = file.readUInt16LE(54);
  const count = file.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const at = tableOffset + index * entrySize;
    return {
      type: file.readUInt32LE(at),
      offset: readOffset(file, at + 8),
      address: readOffset(file, at + 16),
      fileSize: readOffset(file, at + 32),
    };
  });
}

function readNeeded(file: Buffer, segments: readonly Segment[], dynamic: Segment): readonly string[] {
  const nameOffsets: number[] = [];
  let stringsAddress: number | undefined;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.fileSize; at += 16) {
    const tag = readOffset(file, at);
    if (tag === DT_NULL) break;
    if (tag === DT_NEEDED) nameOffsets.push(readOffset(file, at + 8));
    if (tag === DT_STRTAB) stringsAddress = readOffset(file, at + 8);
  }
  if (nameOffsets.length === 0) return [];
  const strings = stringsAddress === undefined ? undefined : toFileOffset(segments, stringsAddress);
  if (strings === undefined) throw new RangeError('The ELF file has no dynamic string table.');
  return nameOffsets.map((offset) => readText(file, strings + offset));
}

function toFileOffset(segments: readonly Segment[], address: number): number | undefined {
  const holder = segments.find(
    ({ type, address: start, fileSize }) =>
      type === PT_LOAD && address >= start && address < start + fileSize,
  );
  return holder === undefined ? undefined : holder.offset + (address - holder.address);
}

function checkHeader(file: Buffer): void {
  const isElf64 = file.length >= 64 && file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!isElf64) throw new RangeError('Not a 64-bit little-endian ELF file.');
}

/** A 64-bit field that fits in a number. Tags of the dynamic section above 2^53 do not matter here. */
function readOffset(file: Buffer, at: number): number {
  return Number(file.readBigUInt64LE(at));
}

function slice(file: Buffer, offset: number, size: number): Buffer {
  if (offset + size > file.length) throw new RangeError('The ELF file is cut short.');
  return file.subarray(offset, offset + size);
}

function readText(file: Buffer, offset: number): string {
  const end = offset < file.length ? file.indexOf(0, offset) : -1;
  if (end === -1) throw new RangeError('The ELF file is cut short.');
  return file.toString('latin1', offset, end);
}
