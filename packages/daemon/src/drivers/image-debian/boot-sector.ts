// Makes GRUB's images for the BIOS know where they lie on the disk, as grub-bios-setup does, which only works on block
// devices. Pure. Source: GRUB 2.06, include/grub/i386/pc/boot.h and util/setup.c (behaviour; no code taken).
import { sectorBytes } from './gpt.ts';

/** Where boot.img has the number of the sector it loads. */
const kernelSectorOffset = 0x5c;
/** A jump over the check of the drive number, for firmware that gives a wrong one. */
const driveCheckOffset = 0x66;
const nop = 0x90;
/** Boot code ends where the disk signature and the partition table of the MBR begin. */
const bootCodeBytes = 440;
/** The last entry of the block list, at the end of core.img's first sector: start (8), length (2), segment (2). */
const blockListOffset = sectorBytes - 12;
/** Where the second sector of core.img goes: 0x8200, right after the first. */
const loadSegment = 0x820;

/** The MBR's boot code, which loads the sector `coreSector`. */
export function bootCode(bootImage: Buffer, coreSector: number): Buffer {
  if (bootImage.length !== sectorBytes || bootImage.readUInt16LE(510) !== 0xaa55)
    throw new Error('boot.img is not one boot sector.');
  const code = Buffer.from(bootImage.subarray(0, bootCodeBytes));
  code.writeBigUInt64LE(BigInt(coreSector), kernelSectorOffset);
  code.fill(nop, driveCheckOffset, driveCheckOffset + 2);
  return code;
}

/** core.img in whole sectors, for a place that begins at `coreSector`: its first sector loads the others from there. */
export function placedCore(coreImage: Buffer, coreSector: number): Buffer {
  const sectors = Math.ceil(coreImage.length / sectorBytes);
  if (sectors < 2 || sectors > 0xffff) throw new Error('core.img has no reasonable length.');
  const core = Buffer.alloc(sectors * sectorBytes);
  coreImage.copy(core);
  core.writeBigUInt64LE(BigInt(coreSector + 1), blockListOffset);
  core.writeUInt16LE(sectors - 1, blockListOffset + 8);
  core.writeUInt16LE(loadSegment, blockListOffset + 10);
  return core;
}
