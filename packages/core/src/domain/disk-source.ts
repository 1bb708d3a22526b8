/** What QEMU opens for a disk: its layers, each with its format and place, so that no header of an image is believed. */

export interface DiskLayerNode {
  /** Id of the layer, or of the image; QEMU's node is named after it. */
  readonly layer: string;
  readonly format: 'qcow2' | 'raw';
  readonly location: { readonly driver: 'file' | 'host_device'; readonly path: string };
  /** Whether the storage takes direct I/O (O_DIRECT). */
  readonly direct: boolean;
}

/** From the base to the layer that the guest writes (or, read-only, reads). Never empty. */
export interface DiskSource {
  readonly layers: readonly DiskLayerNode[];
}
