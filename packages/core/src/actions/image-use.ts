/** For what an image can be used: refusals that say what it is good for instead. */
import { type Image, WirtError } from '@wirt/api';

/**
 * The lane in which an image comes into use and goes, always for a moment: exports and downloads, which take long, have the image's own.
 */
export function usesLane(image: string): string {
  return `uses/${image}`;
}

/** Throws `image.not_found` while the image is being built. */
export function requireReady(image: Image): Image {
  if (image.status.state === 'ready') return image;
  throw new WirtError('image.not_found', `Image ${image.name} is still being built.`, {
    hint: 'Wait for it: `wirt operation ls`.',
  });
}

/** Throws `image.wrong_kind` for what no disk can be made from. */
export function requireDisk(image: Image): Image {
  const { format } = image.spec;
  if (format === 'qcow2' || format === 'raw') return image;
  const what = format === 'iso' ? 'a medium for a CD drive' : 'a kernel that is booted directly';
  throw new WirtError('image.wrong_kind', `Image ${image.name} is ${what}, and no disk.`, {
    hint:
      format === 'iso'
        ? `Put it into a drive: \`wirt run --cdrom ${image.name}\`.`
        : `Start it: \`wirt run ${image.name}\`.`,
  });
}

/** Throws `image.wrong_kind` for what is no medium of a CD drive. */
export function requireMedium(image: Image): Image {
  if (image.spec.format === 'iso') return image;
  throw new WirtError('image.wrong_kind', `Image ${image.name} is no ISO medium.`, {
    hint: `Import one: \`wirt image import FILE.iso\`.`,
  });
}
