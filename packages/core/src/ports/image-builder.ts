/** A recipe that builds an image from the distribution's packages, touching nothing of the host. */

export interface BuildProgress {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'steps';
}

/** Booted by QEMU's `-kernel`. File names are relative to the directory built into. */
export interface KernelImage {
  readonly kind: 'kernel';
  readonly kernel: string;
  readonly initrd: string;
  readonly kernelArgs: string;
  readonly sizeBytes: number;
  readonly description: string;
}

/** Boots by its own boot loader. */
export interface DiskImage {
  readonly kind: 'disk';
  readonly file: string;
  readonly format: 'qcow2';
  readonly virtualSizeBytes: number;
  readonly sizeBytes: number;
  readonly description: string;
  readonly firmware: readonly ('bios' | 'uefi')[];
  readonly cloudInit: boolean;
}

export type BuiltImage = KernelImage | DiskImage;

export interface ImageBuilder {
  readonly recipe: string;
  /** Builds into the empty `directory`. Throws `image.build_failed` or `host.tool_missing`; leaves nothing elsewhere. */
  build(
    directory: string,
    options: { readonly signal: AbortSignal; onProgress(progress: BuildProgress): void },
  ): Promise<BuiltImage>;
}
