/** The numbers of a device, taken out of `st_rdev` as glibc's gnu_dev_major and gnu_dev_minor do it. */
export interface DeviceNumbers {
  readonly major: number;
  readonly minor: number;
}

export function deviceNumbersOf(rdev: number): DeviceNumbers {
  const whole = BigInt(rdev);
  const major = ((whole >> 8n) & 0xfffn) | ((whole >> 32n) & ~0xfffn);
  const minor = (whole & 0xffn) | ((whole >> 12n) & ~0xffn);
  return { major: Number(major), minor: Number(minor) };
}

/** As sysfs names it. */
export function devicePair({ major, minor }: DeviceNumbers): string {
  return `${major}:${minor}`;
}
