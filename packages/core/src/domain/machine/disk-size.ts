/** What is said of a disk's size and what is found: which of them the guest gets. Pure. */
import { maxVolumeBytes, WirtError } from '@wirt/api';
import type { DraftDisk } from './draft.ts';
import { type ImportNote, note } from './notes.ts';

/** VMware and VirtualBox round the stated capacity to their own units: within this, the file is right. */
const roundingBytes = 1_048_576;

/**
 * The size of the volume for a disk file of `foundBytes`. More is stated than the file has: the disk is of the stated size, as the
 * `ovf:capacity` is the virtual size (DSP0243, 9.1), and what is beyond the file is empty. Less: throws `disk.refused`, one of them lies.
 * Throws `disk.too_large`.
 */
export function volumeBytesOf({ key, sizeBytes }: DraftDisk, foundBytes: number): number {
  if (sizeBytes === undefined || Math.abs(sizeBytes - foundBytes) <= roundingBytes) return foundBytes;
  if (sizeBytes < foundBytes)
    throw new WirtError(
      'disk.refused',
      `Disk ${key} has ${foundBytes} bytes by its own header, and ${sizeBytes} by the description of the machine.`,
      {
        details: { reason: 'size-lie', statedBytes: sizeBytes, foundBytes },
        hint: 'Export the machine again where it comes from, or correct the size in the description.',
      },
    );
  if (sizeBytes <= maxVolumeBytes) return sizeBytes;
  throw new WirtError(
    'disk.too_large',
    `Disk ${key} has ${sizeBytes} bytes by the description of the machine.`,
    {
      details: { virtualSizeBytes: sizeBytes, maxVirtualBytes: maxVolumeBytes },
    },
  );
}

/** What the guest sees of a disk that is larger than its file. */
export function grownNotes(disk: DraftDisk, foundBytes: number): ImportNote[] {
  const bytes = volumeBytesOf(disk, foundBytes);
  if (bytes === foundBytes) return [];
  const reason = `Its file has ${foundBytes} bytes. The disk gets the size that is stated; what is beyond the file is empty: let the guest grow its partition.`;
  return [note(`size of ${disk.key}`, `${bytes} bytes`, reason, 'hint')];
}
