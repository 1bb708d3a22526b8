/**
 * Reads the progress that qemu-img prints with -p: `    (12.50/100%)`, one after the other on one line. Calls back
 * with 0 to 100, only when it grows. Takes any text in any pieces.
 */

const LONGEST_MARK = 32;

export function createProgressReader(onProgress: (percent: number) => void): (text: string) => void {
  let rest = '';
  let last = -1;
  return (text) => {
    rest += text;
    let end = 0;
    for (const mark of rest.matchAll(/\((\d{1,3}\.\d{2})\/100%\)/g)) {
      end = mark.index + mark[0].length;
      const percent = Math.min(100, Number(mark[1]));
      if (percent > last) onProgress((last = percent));
    }
    rest = rest.slice(Math.max(end, rest.length - LONGEST_MARK));
  };
}
