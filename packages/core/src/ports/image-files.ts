/** Where the files of images lie. A directory is built under a temporary name and published whole, or not at all. */
export interface ImageFiles {
  /** An empty directory for building image `id`; an earlier one of this id is emptied. */
  stage(id: string): Promise<string>;
  /** Makes the staged directory the image's, readable for every guest; durable when it returns. */
  publish(id: string): Promise<void>;
  /** Absolute path of a file of a published image. */
  path(id: string, file: string): string;
  /** Removes the image’s files, staged or published; nothing to remove is fine. */
  remove(id: string): Promise<void>;
  /** Ids that have files, staged or published. */
  list(): Promise<string[]>;
}
