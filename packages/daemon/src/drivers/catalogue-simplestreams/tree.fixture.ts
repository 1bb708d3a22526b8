// Documents of a small simplestreams catalogue, as the image servers of Incus write them.

export interface ImageInTree {
  readonly os: string;
  readonly release: string;
  readonly variant: string;
  readonly aliases: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export const indexText = JSON.stringify({
  format: 'index:1.0',
  index: {
    images: { datatype: 'image-downloads', format: 'products:1.0', path: 'streams/v1/images.json' },
    clouds: { datatype: 'image-ids', format: 'products:1.0', path: 'streams/v1/clouds.json' },
  },
});

/** Images for amd64 in two versions each, the older one of other content. */
export function productsText(images: readonly ImageInTree[]): string {
  const product = ({ os, release, variant, aliases, sizeBytes, sha256 }: ImageInTree) => {
    const below = `images/${os.toLowerCase()}/${release}/amd64/${variant}`;
    const version = (date: string, size: number, digest: string) => ({
      items: {
        'incus.tar.xz': {
          ftype: 'incus.tar.xz',
          path: `${below}/${date}/incus.tar.xz`,
          size: 1,
          sha256: digest,
        },
        'disk.qcow2': { ftype: 'disk-kvm.img', path: `${below}/${date}/disk.qcow2`, size, sha256: digest },
      },
    });
    return {
      aliases,
      arch: 'amd64',
      os,
      release,
      release_title: release,
      variant,
      versions: {
        '20261122_05:24': version('20261122_05:24', sizeBytes, sha256),
        '20261121_05:24': version('20261121_05:24', 1, 'f'.repeat(64)),
      },
    };
  };
  const id = ({ os, release, variant }: ImageInTree) => `${os.toLowerCase()}:${release}:amd64:${variant}`;
  return JSON.stringify({
    format: 'products:1.0',
    datatype: 'image-downloads',
    products: Object.fromEntries(images.map((image) => [id(image), product(image)])),
  });
}
