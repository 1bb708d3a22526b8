/** Where the files of images lie. A directory is built under a temporary name and published whole, or not at all. */
export interface ImageFiles {
  /** An empty directory for building image `id`; an earlier one of this id is emptied. */
  stage(id: string): Promise<string>;
  /**
   * Makes the staged directory that of `key` (the image's id, or `sha256-…` of its content), readable for every guest; durable when
   * it returns. Where `key` has files already, those stay and the staged ones go.
   */
  publish(id: string, key: string): Promise<void>;
  /** Absolute path of a file of a published image. */
  path(key: string, file: string): string;
  /** Removes files, staged under an id or published under a key; nothing to remove is fine. */
  remove(key: string): Promise<void>;
  /** Ids and keys that have files, staged or published. */
  list(): Promise<string[]>;
}
