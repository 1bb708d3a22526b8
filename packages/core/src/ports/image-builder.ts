/** A recipe that builds an image from the distribution's packages, touching nothing of the host. */

export interface BuildProgress {
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'steps';
}

/** File names are relative to the directory built into. */
export interface BuiltImage {
  readonly kernel: string;
  readonly initrd: string;
  readonly kernelArgs: string;
  readonly sizeBytes: number;
  readonly description: string;
}

export interface ImageBuilder {
  readonly recipe: string;
  /** Builds into the empty `directory`. Throws `image.build_failed` or `host.tool_missing`; leaves nothing elsewhere. */
  build(
    directory: string,
    options: { readonly signal: AbortSignal; onProgress(progress: BuildProgress): void },
  ): Promise<BuiltImage>;
}
