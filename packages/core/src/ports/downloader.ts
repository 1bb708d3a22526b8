/** Fetches one file from the web into one file of the host: whole and checked, or not at all. */

export interface DownloadRequest {
  /** https; http only with `sha256` or from this host. No user name or password in it. */
  readonly url: string;
  /**
   * Absolute path of the staged file. When it is left from a fetch of the same address that was broken off, the rest is
   * fetched. Its directory is this download's own: `<target>.part.json` is kept beside it until the file is whole.
   */
  readonly target: string;
  /** The exact size, where it is known beforehand. */
  readonly expectedBytes?: number;
  /** Hexadecimal, where it is known beforehand. */
  readonly sha256?: string;
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  /** May be called often. `totalBytes` is missing where the server does not say it. `doneBytes` falls when it starts anew. */
  onProgress(doneBytes: number, totalBytes?: number): void;
}

export interface Downloader {
  /**
   * Resolves when the file is whole, matches what was said of it, and is durable. The bytes are stored as sent, never
   * unpacked. Throws the signal's reason or `download.failed`, and then keeps what can be continued; or
   * `download.checksum_mismatch`, `download.too_large`, `download.refused`, `host.storage_full`, and then keeps nothing.
   */
  fetch(request: DownloadRequest): Promise<{ readonly bytes: number; readonly sha256: string }>;
}
