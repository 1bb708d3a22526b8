/**
 * What an inspection finds out about a disk file that it lets pass.
 */

import type { DiskFormat } from './sniff.ts';

export interface DiskFactsOf<Format extends DiskFormat, Details> {
  format: Format;
  /** Bytes that a guest sees. */
  virtualSizeBytes: number;
  /** `partly`: its tables are so large that only the first of them were followed to the file's end. */
  tables: 'checked' | 'partly';
  details: Details;
}
